"""Checkpoints of one training run: a pack that they share against each alone, and against differences without loss.

Decoded by lossy codecs, each checkpoint classes all validation digits but `MAX_DISAGREEMENT` percent as before; lossless ones change nothing. Where a codec has several settings, every
few checkpoints are stored with each, and the one that promises the fewest bytes of the series stores them all. Test digits are read once,
at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from experiments.baselines.lossless_differences import CODERS, FORMS, INSTALL
from experiments.bases import CALIBRATION_DIGITS
from experiments.networks.series import Series, make_series
from experiments.results.series import CodecResult, Row, SeriesResult, Trial
from experiments.series_baselines import of_base, of_previous
from experiments.series_codecs import (
    SeriesPack,
    faithful_members,
    lossless_alone,
    quantized_alone,
    without_loss,
)
from experiments.series_files import Stored, encode, store
from experiments.series_setup import BASES, MAX_DISAGREEMENT, SeriesCodec, Setup
from vaecomp_native.accounting import amortized_ratio
from vaecomp_native.demo import machine
from vaecomp_native.demo.accuracy import percent_correct, predict
from vaecomp_native.demo.digits import Digits, MnistData
from vaecomp_native.progress import Progress, silent

PACKS = (
    SeriesPack("first", 8),
    SeriesPack("middle", 8),
    SeriesPack("middle", 4, decoder_rate_weight=5e-6),
)
LOSSLESS_PACKS = tuple(SeriesPack(base, latent) for base in BASES for latent in (2, 4, 8, 16))

TRIED = 5
"""About how many checkpoints each of several settings is tried on."""

QUICK: dict[str, Any] = {
    "packs": (SeriesPack("middle", 2, decoder_rate_weight=2e-5, steps=50),),
    "lossless_packs": (SeriesPack("middle", 1),),
    "epochs": 1,
    "digits": 512,
}
"""Options of `run` that only show that everything runs."""

QUICK_CHECKPOINTS = 6
"""At most that many then."""


def run(
    data: MnistData,
    cache: Path,
    *,
    checkpoints: int = 50,
    packs: Sequence[SeriesPack] = PACKS,
    lossless_packs: Sequence[SeriesPack] = LOSSLESS_PACKS,
    epochs: int | None = None,
    digits: int = CALIBRATION_DIGITS,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
    publish: Callable[[SeriesResult], None] = lambda result: None,
) -> SeriesResult:
    """Run the experiment; ``publish`` gets the result.

    Checkpoints, packs and files are kept in ``cache`` and used again by the next run with the same settings, so that one that was
    interrupted goes on where it stopped. ``epochs`` are those of the training and default to what suits the data; ``digits`` calibrate. Codecs whose packages are not installed are left out,
    which ``notice`` is told. All runs on torch's number of threads.
    """
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
    stored: list[Stored] = []
    for family in _families(setup, packs, lossless_packs, notice):
        codec = _choose(family, setup, cache, trials)
        stored.append(store(codec, setup, cache))
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
    publish(result)
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
        sizes = [encode(codec, number, cache).bytes for number in numbers]
        # A series of one checkpoint has none beside its base.
        mean = fmean(sizes) if sizes else 0.0
        # The base's own file says nothing about the others.
        base = 0 if codec.base is None else encode(codec, codec.base, cache).bytes - mean
        promised.append(codec.shared_bytes + base + count * mean)
        trials.append(Trial(codec.codec, codec.setting, promised[-1]))
    return codecs[int(np.argmin(promised))]


def _test(
    series: Series, stored: Sequence[Stored], digits: Digits
) -> tuple[list[float], list[Row]]:
    """The only place that reads test digits: accuracies of the checkpoints, and all rows."""

    def score(predicted: torch.Tensor) -> float:
        return percent_correct(predicted, digits.labels)

    own = [predict(series.module(number), digits.images) for number in range(len(series))]
    rows = []
    for one in stored:
        found = own if one.codec.lossless else one.predictions(digits.images)
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


def _summed(stored: Stored, rows: Sequence[Row], series: Series) -> CodecResult:
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
            f"python -m experiments series --checkpoints {len(setup.series)} --seed {seed} "
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
