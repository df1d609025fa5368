"""Weights into an archive."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vaecomp_native import _core
from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.codecs.sections import Array, EncodedTensors, SectionKind, encode_raw
from vaecomp_native.codecs.vae import DECODERS, DecoderKind, encode_vae
from vaecomp_native.files import write_atomically
from vaecomp_native.kernels import digest
from vaecomp_native.progress import Progress, console
from vaecomp_native.state_dict import LATENT_DTYPES, StateDict, check_finite, read_state_dict

if TYPE_CHECKING:
    from vaecomp_native.state_dict import Weights

Codec = Literal["vae", "raw"]
CODECS: tuple[Codec, ...] = ("vae", "raw")


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` made.

    `info` tells contents and bytes of the archive, `history` the training curve, `relative_error` the squared error of the
    decoded weights over their own squares (0 without loss), `seconds` the time it took.
    """

    info: ArchiveInfo
    history: Sequence[Mapping[str, float]]
    relative_error: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        history = [dict(epoch) for epoch in self.history]
        return {
            **self.info.to_dict(),
            "history": history,
            "relative_error": self.relative_error,
            "seconds": self.seconds,
        }


def compress(
    weights: Weights,
    path: str | os.PathLike[str],
    *,
    codec: Codec = "vae",
    decoder: DecoderKind = "compact",
    latent: int = 64,
    chunk_length: int = 2048,
    distortion: float = 0.015,
    epochs: int = 500,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> CompressionReport:
    """Compress weights into the archive `path`.

    Float tensors go through the codec. Integer, boolean, float8 and complex tensors, scalars, empty tensors, and
    vectors of one sign or one value (gains and variances of normalisation layers) are stored as they are, and tied
    weights once. The file is decoded and checked before it takes its place, atomically.

    Args:
        weights: a mapping of names to NumPy arrays or torch tensors, a torch module, or the path of a safetensors
            file, a sharded safetensors index, or a directory that holds one.
        path: the archive to write.
        codec: "vae", the latent codec, or "raw", which stores everything as it is.
        decoder: of the latent codec: "compact" (small and entropy-coded, for archives that stand alone),
            "paper" (the size of Cheng et al. 2024, in integers) or "float32" (their set-up, in floats).
        latent: numbers in a chunk's latent.
        chunk_length: weights in a chunk.
        distortion: what the coarse weights of a "compact" decoder may add to the squared error, relative to that of zeros;
            each tensor's errors count in proportion to its spread. Larger is smaller and less accurate.
        epochs: most epochs of training; it stops early when the validation loss stops falling.
        seed: of everything random; equal seeds give equal files on the same machine's CPU.
        device: torch device for training, or "auto": CUDA, else MPS, else CPU.
        threads: threads of the native kernels, 0 for all cores.
        progress: called as training proceeds; by default a bar is drawn on a terminal's standard error.

    Warns:
        UserWarning: the weights make more chunks than the decoder has hidden units, so that much of them is lost.

    Returns:
        The archive's info with its bytes by part, the training curve and the time taken.

    Raises:
        WeightsError: weights of an unsupported kind, or NaN or infinite values, naming the tensor.
        TrainingError: training did not converge to finite values.
        ValueError: an option out of range, naming it.
        ModuleNotFoundError: the latent codec is asked for and PyTorch is not installed.
        OSError: the archive cannot be written.
    """
    _check_choice("codec", codec, CODECS)
    _check_choice("decoder", decoder, DECODERS)
    if chunk_length < 1:
        raise ValueError(f"chunk_length is {chunk_length}; it must be at least 1")
    started = time.perf_counter()
    state = read_state_dict(weights)
    check_finite(state)
    lossy, exact = _split(state, codec)
    encoded: list[EncodedTensors] = []
    if lossy:
        with console() if progress is None else nullcontext(progress) as report:
            encoded.append(
                encode_vae(
                    lossy,
                    decoder=decoder,
                    chunk_length=chunk_length,
                    progress=report,
                    latent=latent,
                    distortion=distortion,
                    epochs=epochs,
                    seed=seed,
                    device=device,
                    threads=threads,
                )
            )
    if exact:
        encoded.append(encode_raw(exact))
    data = _assemble(state, encoded)
    with Archive(data, threads=threads) as archive:
        archive.verify()
        info = archive.info
    write_atomically(path, data)
    history = [epoch for part in encoded for epoch in part.history]
    error = _relative_error(lossy, encoded)
    return CompressionReport(info, history, error, time.perf_counter() - started)


def _relative_error(lossy: Mapping[str, Array], encoded: Sequence[EncodedTensors]) -> float:
    """Squared error of what the codec changed over its squares; 0 if it changed nothing."""
    energy = error = 0.0
    for part in encoded:
        for name in part.decoded.keys() & lossy.keys():
            original = lossy[name].astype(np.float64)
            energy += float(np.square(original).sum())
            error += float(np.square(part.decoded[name].astype(np.float64) - original).sum())
    return error / energy if energy else 0.0


def _split(state: StateDict, codec: Codec) -> tuple[dict[str, Array], dict[str, Array]]:
    """Tensors that the codec may change, and those that must come back bit for bit."""
    lossy = {
        name: array
        for name, array in state.arrays.items()
        if codec == "vae" and array.dtype.name in LATENT_DTYPES and not _is_delicate(array)
    }
    return lossy, {name: array for name, array in state.arrays.items() if name not in lossy}


def _is_delicate(array: Array) -> bool:
    """Whether a tensor is too small to gain from a lossy codec, or would suffer from any error.

    Scalars and empty tensors; and vectors of one sign or one value: gains and variances of normalisation layers, which must
    not change their sign, and zeros.
    """
    if array.size <= 1:
        return True
    if array.ndim != 1:
        return False
    low, high = array.min(), array.max()
    return bool(low > 0 or high < 0 or low == high)


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(choices)}")


def _assemble(state: StateDict, encoded: Sequence[EncodedTensors]) -> bytes:
    """The file's bytes; tensors are listed in the state dict's order."""
    sections: list[tuple[SectionKind, bytes]] = []
    home: dict[str, tuple[int, EncodedTensors]] = {}
    for part in encoded:
        sections += part.sections
        home |= dict.fromkeys(part.decoded, (len(sections) - 1, part))
    order = {name: i for i, name in enumerate(state.names)}
    rows: list[tuple[Any, ...]] = []
    for name in state.names:
        if name in state.aliases:
            rows.append((name, "alias", order[state.aliases[name]]))
            continue
        section, part = home[name]
        array = part.decoded[name]
        codec = "latent" if sections[section][0] == "latents" else "raw"
        rows.append((name, codec, array.shape, array.dtype, section, digest(array)))
    return _core.write_archive(sorted(state.metadata.items()), sections, rows)
