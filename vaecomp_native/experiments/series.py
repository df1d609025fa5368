"""Checkpoints of one training run: a pack that they share against each alone, and against differences without loss.

Decoded by lossy codecs, each checkpoint classes all validation digits but `MAX_DISAGREEMENT` percent as before; lossless ones change nothing. Where a codec has several settings, every
few checkpoints are stored with each, and the one that promises the fewest bytes of the series stores them all. Test digits are read once,
at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from vaecomp_native.accounting import amortized_ratio
from vaecomp_native.bits import identical
from vaecomp_native.errors import VaecompError
from vaecomp_native.evaluation.accuracy import percent_correct, predict
from vaecomp_native.evaluation.lossless_differences import CODERS, FORMS, INSTALL
from vaecomp_native.experiments.files import write_json, write_text
from vaecomp_native.experiments.member_codecs import CALIBRATION_DIGITS
from vaecomp_native.experiments.report import machine
from vaecomp_native.experiments.report.series import render_series
from vaecomp_native.experiments.series_codecs import (
    BASES,
    MAX_DISAGREEMENT,
    SeriesCodec,
    SeriesPack,
    Setup,
    faithful_members,
    lossless_alone,
    of_base,
    of_previous,
    quantized_alone,
    without_loss,
)
from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.mnist import Digits, MnistData
from vaecomp_native.zoo.personal import build_with
from vaecomp_native.zoo.series import Arrays, Series, make_series

PACKS = (
    SeriesPack("first", 8),
    SeriesPack("middle", 8),
    SeriesPack("middle", 4, rate_weight=5e-6),
)
LOSSLESS_PACKS = tuple(SeriesPack(base, latent) for base in BASES for latent in (2, 4, 8, 16))

TRIED = 5
"""About how many checkpoints each of several settings is tried on."""

QUICK: dict[str, Any] = {
    "packs": (SeriesPack("middle", 2, rate_weight=2e-5, steps=50),),
    "lossless_packs": (SeriesPack("middle", 1),),
    "epochs": 1,
    "digits": 512,
}
"""Options of `run` that only show that everything runs."""

QUICK_CHECKPOINTS = 6
"""At most that many then."""


@dataclass(frozen=True)
class Row:
    """A checkpoint stored with a codec.

    ``bytes`` are its own file's; seconds of decoding are those for this checkpoint alone, with all that it needs. ``rate_weight`` is the residual's, None without
    one. Accuracies in percent and losses in points, on test digits; ``agreement`` is how often in percent the decoded checkpoint says
    of test digits what the original says, ``validation_agreement`` that of validation digits.
    """

    codec: str
    checkpoint: int
    bytes: int
    rate_weight: float | None
    accuracy_own: float
    accuracy: float
    loss: float
    agreement: float
    validation_agreement: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class CodecResult:
    """The series stored with a codec.

    ``total_bytes`` are those of all files, ``shared_bytes`` among them those of what checkpoints share, ``bytes_per_checkpoint`` the mean of
    their own files; ``ratio`` is of raw bytes over total bytes. ``random_access``: a checkpoint needs no other one. Losses in points of accuracy on test digits, negative for gains; ``largest_change`` is of either; agreements as in `Row`; ``residuals`` is the number of checkpoints with a residual. Seconds are means of a checkpoint, and of what is shared together.
    """

    codec: str
    lossless: bool
    random_access: bool
    total_bytes: int
    shared_bytes: int
    bytes_per_checkpoint: float
    ratio: float
    largest_change: float
    mean_loss: float
    mean_agreement: float
    least_agreement: float
    least_validation_agreement: float
    residuals: int
    encode_seconds: float
    decode_seconds: float
    shared_seconds: float
    setting: Mapping[str, float | str]


@dataclass(frozen=True)
class Trial:
    """A codec's setting, tried on some checkpoints, and the bytes of the series that they promise."""

    codec: str
    setting: Mapping[str, float | str]
    promised_bytes: float


@dataclass(frozen=True)
class SeriesResult:
    """All codecs, what each checkpoint made of them in ``rows``, and what settings were chosen from.

    ``accuracies_own`` are those of the checkpoints on test digits.
    """

    checkpoints: int
    codecs: tuple[CodecResult, ...]
    rows: tuple[Row, ...]
    accuracies_own: tuple[float, ...]
    raw_bytes: int
    max_disagreement: float
    trials: tuple[Trial, ...]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)


def run(
    data: MnistData,
    out: Path,
    *,
    checkpoints: int = 50,
    cache: Path | None = None,
    packs: Sequence[SeriesPack] = PACKS,
    lossless_packs: Sequence[SeriesPack] = LOSSLESS_PACKS,
    epochs: int | None = None,
    digits: int = CALIBRATION_DIGITS,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
) -> SeriesResult:
    """Run the experiment; write ``series.json`` and ``report.html`` to ``out``.

    Checkpoints, packs and files are kept in ``cache``, by default a folder of ``out``, and used again by the next run with the same settings, so that one that was
    interrupted goes on where it stopped. ``epochs`` are those of the training and default to what suits the data; ``digits`` calibrate. Codecs whose packages are not installed are left out,
    which ``notice`` is told. All runs on torch's number of threads.
    """
    out.mkdir(parents=True, exist_ok=True)
    cache = cache or out / "cache"
    notice(f"data: {data.notice}")
    series = make_series(
        data,
        cache / "checkpoints",
        checkpoints=checkpoints,
        epochs=epochs,
        seed=seed,
        progress=progress,
    )
    setup = Setup(series, data, cache / "shared", digits, progress)
    trials: list[Trial] = []
    stored: list[_Stored] = []
    for family in _families(setup, packs, lossless_packs, notice):
        codec = _choose(family, setup, cache, trials)
        stored.append(_store(codec, setup, cache))
    own, rows = _test(series, stored, data.test)
    result = SeriesResult(
        checkpoints=checkpoints,
        codecs=tuple(_summed(one, rows, series) for one in stored),
        rows=tuple(rows),
        accuracies_own=tuple(own),
        raw_bytes=series.raw_bytes,
        max_disagreement=MAX_DISAGREEMENT,
        trials=tuple(trials),
        settings=_settings(setup, seed),
        machine=machine.describe(),
    )
    write_text(out / "report.html", render_series(result))
    write_json(out / "series.json", result.to_dict())
    for codec_result in result.codecs:
        notice(_summary(codec_result))
    return result


Family = Sequence[Callable[[], SeriesCodec]]
"""Settings of one codec, each made when it is its turn."""


def _families(
    setup: Setup,
    packs: Sequence[SeriesPack],
    lossless_packs: Sequence[SeriesPack],
    notice: Callable[[str], None],
) -> list[Family]:
    """What is stored; without coders whose packages are not installed, which ``notice`` is told."""
    families: list[Family] = [
        [partial(faithful_members, setup, pack) for pack in packs],
        [partial(quantized_alone, setup)],
        [partial(without_loss, setup, pack) for pack in lossless_packs],
        [partial(lossless_alone, setup)],
    ]
    missing = {coder.package for coder in CODERS if not coder.installed}
    for package in sorted(missing):
        notice(f"{package} is not installed and left out: {INSTALL}")
    for coder in CODERS:
        if coder.package not in missing:
            for form in FORMS:
                families.append([partial(of_previous, setup, coder, form)])
                families.append([partial(of_base, setup, coder, form, base) for base in BASES])
    return families


def _choose(family: Family, setup: Setup, cache: Path, trials: list[Trial]) -> SeriesCodec:
    """The setting that promises the fewest bytes of the series; those that were tried are added to ``trials``."""
    codecs = [make() for make in family]
    if len(codecs) == 1:
        return codecs[0]
    count = len(setup.series)
    stride = max(1, count // TRIED)
    promised = []
    for codec in codecs:
        numbers = [number for number in range(stride // 2, count, stride) if number != codec.base]
        sizes = [_encode(codec, number, cache).bytes for number in numbers]
        # A series of one checkpoint has none beside its base.
        mean = fmean(sizes) if sizes else 0.0
        # The base's own file says nothing about the others.
        base = 0 if codec.base is None else _encode(codec, codec.base, cache).bytes - mean
        promised.append(codec.shared_bytes + base + count * mean)
        trials.append(Trial(codec.codec, codec.setting, promised[-1]))
    return codecs[int(np.argmin(promised))]


@dataclass(frozen=True)
class _File:
    """A checkpoint's file and how it was made."""

    path: Path
    bytes: int
    rate_weight: float | None
    seconds: float


def _folder(codec: SeriesCodec, cache: Path) -> Path:
    return cache / "files" / codec.key[:16]


def _encode(codec: SeriesCodec, number: int, cache: Path) -> _File:
    """A checkpoint's file; one that is there is used again."""
    folder = _folder(codec, cache)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{number:04d}{codec.suffix}"
    notes = path.with_suffix(".json")
    if not (path.exists() and notes.exists()):
        start = time.perf_counter()
        rate_weight = codec.encode(number, path)
        seconds = time.perf_counter() - start
        write_json(notes, {"rate_weight": rate_weight, "seconds": seconds})
    return _File(path, path.stat().st_size, **json.loads(notes.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class _Stored:
    """All checkpoints as files of a codec, agreements on validation digits in percent, and seconds of decoding each alone."""

    codec: SeriesCodec
    files: Sequence[_File]
    agreements: Sequence[float]
    seconds: Sequence[float]


def _store(codec: SeriesCodec, setup: Setup, cache: Path) -> _Stored:
    """Encode and decode all checkpoints, or look up what came of it."""
    files = []
    for number in range(len(setup.series)):
        files.append(_encode(codec, number, cache))
        setup.progress(f"coding: {codec.codec}", number + 1, len(setup.series), {})
    notes = _folder(codec, cache) / "decoded.json"
    if not notes.exists():
        agreements, seconds = _examine(codec, files, setup)
        write_json(notes, {"agreements": agreements, "seconds": seconds})
    return _Stored(codec, files, **json.loads(notes.read_text(encoding="utf-8")))


def _examine(
    codec: SeriesCodec, files: Sequence[_File], setup: Setup
) -> tuple[list[float], list[float]]:
    """Agreements on validation digits of what the files decode to, and seconds of decoding each alone."""
    agreements, seconds = [], []
    for number, (decoded, spent) in enumerate(_decoded(codec, files)):
        seconds.append(spent)
        if codec.lossless:
            _check_bits(codec, number, decoded, setup.series.arrays(number))
            agreements.append(100.0)
        else:
            agreements.append(setup.agreement(number)(_module(decoded)))
    return agreements, seconds if codec.random_access else list(accumulate(seconds))


def _decoded(codec: SeriesCodec, files: Sequence[_File]) -> Iterator[tuple[Arrays, float]]:
    """Each file's weights and the seconds that it took."""
    previous: Arrays | None = None
    for file in files:
        start = time.perf_counter()
        previous = codec.decode(file.path, previous)
        yield previous, time.perf_counter() - start


def _check_bits(codec: SeriesCodec, number: int, decoded: Arrays, original: Arrays) -> None:
    for name, array in original.items():
        if not identical(decoded[name], array):
            raise VaecompError(
                f"{codec.codec}: checkpoint {number}'s '{name}' did not come back bit for bit"
            )


def _module(arrays: Arrays) -> torch.nn.Module:
    return build_with({name: torch.from_numpy(array) for name, array in arrays.items()})


def _test(
    series: Series, stored: Sequence[_Stored], digits: Digits
) -> tuple[list[float], list[Row]]:
    """The only place that reads test digits: accuracies of the checkpoints, and all rows."""

    def score(predicted: torch.Tensor) -> float:
        return percent_correct(predicted, digits.labels)

    own = [predict(series.module(number), digits.images) for number in range(len(series))]
    rows = []
    for one in stored:
        found = own
        if not one.codec.lossless:
            decoded = _decoded(one.codec, one.files)
            found = [predict(_module(arrays), digits.images) for arrays, _ in decoded]
        rows += [
            Row(
                codec=one.codec.codec,
                checkpoint=number,
                bytes=file.bytes,
                rate_weight=file.rate_weight,
                accuracy_own=score(own[number]),
                accuracy=score(found[number]),
                loss=score(own[number]) - score(found[number]),
                agreement=percent_correct(found[number], own[number]),
                validation_agreement=one.agreements[number],
                encode_seconds=file.seconds,
                decode_seconds=one.seconds[number],
            )
            for number, file in enumerate(one.files)
        ]
    return [score(predicted) for predicted in own], rows


def _summed(stored: _Stored, rows: Sequence[Row], series: Series) -> CodecResult:
    codec, shared = stored.codec, stored.codec.shared_bytes
    own = [row for row in rows if row.codec == codec.codec]
    mean = fmean(row.bytes for row in own)
    return CodecResult(
        codec=codec.codec,
        lossless=codec.lossless,
        random_access=codec.random_access,
        total_bytes=shared + sum(row.bytes for row in own),
        shared_bytes=shared,
        bytes_per_checkpoint=mean,
        ratio=amortized_ratio(series.raw_bytes, shared, mean, len(series)),
        largest_change=max(abs(row.loss) for row in own),
        mean_loss=fmean(row.loss for row in own),
        mean_agreement=fmean(row.agreement for row in own),
        least_agreement=min(row.agreement for row in own),
        least_validation_agreement=min(row.validation_agreement for row in own),
        residuals=sum(row.rate_weight is not None for row in own),
        encode_seconds=fmean(row.encode_seconds for row in own),
        decode_seconds=fmean(row.decode_seconds for row in own),
        shared_seconds=codec.shared_seconds,
        setting=codec.setting,
    )


def _summary(result: CodecResult) -> str:
    """A codec in one line."""
    line = f"{result.codec}: {result.total_bytes:,} B, {result.ratio:.3g}x"
    if result.lossless:
        return line
    return f"{line}, largest change {result.largest_change:.2f} points, agreement {result.mean_agreement:.2f} %"


def _settings(setup: Setup, seed: int) -> dict[str, str | int | float]:
    """How it was measured, for the JSON and the page."""
    data, threads = setup.data, torch.get_num_threads()
    settings: dict[str, str | int | float] = {
        "command": (
            f"vaecomp experiment series --checkpoints {len(setup.series)} --seed {seed} "
            f"--threads {threads}"
        ),
        "data": data.notice,
        "calibration digits": min(setup.digits, len(data.train)),
        "validation digits": len(data.validation),
        "test digits": len(data.test),
        "classed otherwise of validation digits": f"at most {MAX_DISAGREEMENT} %",
        "seed": seed,
        "threads": threads,
    }
    return settings | {coder.package: coder.version for coder in CODERS if coder.installed}
