"""Sections into a file: only here an archive's bytes are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.kernels import digest, digests
from vaecomp_native.state_dict import StateDict

TENSOR_CODECS = {
    "latents": "latent",
    "quantized": "quantized",
    "lossless": "lossless",
    "raw": "raw",
}
"""The name of a tensor's codec, by the kind of its section."""


def assemble(
    state: StateDict,
    encoded: Sequence[EncodedTensors],
    more: Sequence[tuple[SectionKind, bytes]] = (),
    *,
    threads: int = 0,
) -> bytes:
    """Put the file's bytes together.

    Tensors are listed in the state dict's order. The sections `more` follow those of the tensors.
    """
    sections: list[tuple[SectionKind, bytes]] = []
    home: dict[str, tuple[int, EncodedTensors]] = {}
    known: dict[str, int] = {}
    for part in encoded:
        sections += part.sections
        home |= dict.fromkeys(part.decoded, (len(sections) - 1, part))
        # Other mappings make an array when it is asked for, and all of them would take much memory.
        if isinstance(part.decoded, dict):
            found = digests(list(part.decoded.values()), threads=threads)
            known |= zip(part.decoded, found, strict=True)
    order = {name: i for i, name in enumerate(state.names)}
    rows: list[tuple[Any, ...]] = []
    for name in state.names:
        if name in state.aliases:
            rows.append((name, "alias", order[state.aliases[name]]))
            continue
        section, part = home[name]
        array = part.decoded[name]
        codec = TENSOR_CODECS[sections[section][0]]
        own = known[name] if name in known else digest(array, threads=threads)
        rows.append((name, codec, array.shape, array.dtype, section, own))
    return _core.write_archive(sorted(state.metadata.items()), [*sections, *more], rows, threads)
