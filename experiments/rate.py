"""Size against accuracy on MNIST networks, beside ISO/IEC 15938-17 (nncodec).

Each network is trained once and coded at many operating points of every codec. Curves and choices
are made on validation digits: for each allowed loss, a codec's smallest file whose loss stays within it
with a confidence of 95 %, by the standard error of the paired difference. Only the files chosen so are then put
before the test digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import nn

from experiments.baselines import nncodec
from experiments.curves import CODECS, QPS, Family, families
from experiments.measures.paired import paired_loss
from experiments.networks.classifiers import NETWORKS
from experiments.networks.training import train_network
from experiments.results.rate import ChosenFile, CurvePoint, ModelCurves, RateResult
from vaecomp_native.compression.curve import (
    QUANTIZERS,
    RATE_WEIGHTS,
    Candidate,
    Encoding,
    code,
    load,
)
from vaecomp_native.demo import machine
from vaecomp_native.demo.accuracy import percent_correct, predict
from vaecomp_native.demo.digits import Digits, MnistData
from vaecomp_native.progress import Progress, silent
from vaecomp_native.state_dict import read_state_dict

ALLOWED_LOSSES = (0.2, 0.5, 1.0)
"""Points of accuracy that a file may cost."""

COMPARED: tuple[str, ...] = (*QUANTIZERS, "nncodec")
FINE_CODECS = ("quantized", "nncodec")
"""Codecs that are compared at all their operating points; the others get fewer, to save time."""

FINE_WEIGHTS: tuple[float, ...] = tuple(
    sorted(2**quarter * weight for weight in RATE_WEIGHTS for quarter in (0, 0.25, 0.5, 0.75))
)
COARSE_WEIGHTS: tuple[float, ...] = RATE_WEIGHTS[::2]
"""Rate weights for the quantized codec with its default quantizer, and with the others."""

HOPELESS_LOSS = 4.0
"""Points of validation accuracy beyond which smaller files of the same kind are not tried."""

CALIBRATION_DIGITS = 4096
CALIBRATION_BATCH = 256
"""Training digits that the quantized codec looks at, without their labels, and how many at once."""


def run(
    data: MnistData,
    out: Path,
    *,
    models: Sequence[str] = NETWORKS,
    codecs: Sequence[str] = COMPARED,
    fine_weights: Sequence[float] = FINE_WEIGHTS,
    coarse_weights: Sequence[float] = COARSE_WEIGHTS,
    qps: Sequence[int] = QPS,
    classifier_epochs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
    publish: Callable[[RateResult], None] = lambda result: None,
) -> RateResult:
    """Run the experiment; write the files of every point to ``out``.

    ``publish`` gets the result after each network, so that an interruption loses
    none that is finished. Without the package nncodec its rows are left out, which ``notice`` is
    told. ``classifier_epochs`` defaults to what suits the network and the data. Training and
    encoding run on torch's number of threads.
    """
    notice(f"data: {data.notice}")
    if "nncodec" in codecs and not nncodec.installed():
        notice(f"nncodec is not installed, its rows are left out; {nncodec.INSTALL} adds them")
        codecs = [codec for codec in codecs if codec != "nncodec"]
    ordered = sorted(codecs, key=lambda codec: codec not in FINE_CODECS)
    plan = [
        family
        for codec in ordered
        for family in families(codec, fine_weights if codec in FINE_CODECS else coarse_weights, qps)
    ]
    rows: list[ChosenFile] = []
    curves: dict[str, ModelCurves] = {}
    result = RateResult(ALLOWED_LOSSES, (), {}, _settings(data, models, seed), machine.describe())
    for name in models:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        trained = train_network(name, data, epochs=classifier_epochs, seed=seed, progress=progress)
        model = trained.model
        curves[name] = _draw(name, model, plan, folder, data, progress)
        chosen = _choose(curves[name].points)
        rows += _test(name, model, chosen, folder, data.test)
        result = replace(result, results=tuple(rows), models=dict(curves))
        publish(result)
        notice(_summary(name, codecs, chosen))
    return result


def _draw(
    name: str,
    model: nn.Module,
    plan: Sequence[Family],
    folder: Path,
    data: MnistData,
    progress: Progress,
) -> ModelCurves:
    """Write and read back every file of one network, and compare on the validation digits."""
    calibration = torch.split(data.train.images[:CALIBRATION_DIGITS], CALIBRATION_BATCH)
    encoding = Encoding(calibration, threads=torch.get_num_threads())
    original = predict(model, data.validation.images)
    total = sum(map(len, plan))
    points: list[CurvePoint] = []
    for family, end in zip(plan, accumulate(map(len, plan)), strict=True):
        for done, candidate in enumerate(family, start=end - len(family) + 1):
            point = _measure(model, candidate, folder, encoding, original, data.validation)
            points.append(point)
            metrics = {"bytes": point.bytes, "loss": point.validation_loss}
            progress(f"coding {name}", done, total, metrics)
            if point.validation_loss > HOPELESS_LOSS:
                break
    state = read_state_dict(model)
    return ModelCurves(
        parameters=state.parameters,
        raw_bytes=sum(array.nbytes for array in state.arrays.values()),
        validation_accuracy=percent_correct(original, data.validation.labels),
        points=tuple(points),
    )


def _measure(
    model: nn.Module,
    candidate: Candidate,
    folder: Path,
    encoding: Encoding,
    original: torch.Tensor,
    validation: Digits,
) -> CurvePoint:
    """Write one file and compare what it decodes to with the ``original`` predictions."""
    file = code(model, candidate, folder, encoding)
    decoded = predict(load(model, candidate.codec, file.path), validation.images)
    loss = paired_loss(original, decoded, validation.labels)
    return CurvePoint(
        codec=candidate.codec.name,
        setting=candidate.setting,
        file=file.path.name,
        bytes=file.bytes,
        ratio_self_contained=file.ratio_self_contained,
        validation_accuracy=percent_correct(decoded, validation.labels),
        validation_loss=loss.points,
        validation_standard_error=loss.standard_error,
        encode_seconds=file.encode_seconds,
        decode_seconds=file.decode_seconds,
    )


def _choose(points: Sequence[CurvePoint]) -> dict[tuple[str, float], CurvePoint]:
    """Each codec's smallest file for each allowed loss, by codec and loss, where there is one."""
    chosen: dict[tuple[str, float], CurvePoint] = {}
    for allowed in ALLOWED_LOSSES:
        for point in points:
            key = (point.codec, allowed)
            if point.within(allowed) and (key not in chosen or point.bytes < chosen[key].bytes):
                chosen[key] = point
    return chosen


def _test(
    name: str,
    model: nn.Module,
    chosen: Mapping[tuple[str, float], CurvePoint],
    folder: Path,
    test: Digits,
) -> list[ChosenFile]:
    """Accuracies of the chosen files: the only place that reads the test digits."""

    def accuracy(classifier: nn.Module) -> float:
        return percent_correct(predict(classifier, test.images), test.labels)

    original = accuracy(model)
    codec_of = {point.file: point.codec for point in chosen.values()}
    decoded = {
        file: accuracy(load(model, CODECS[codec], folder / file))
        for file, codec in codec_of.items()
    }
    return [
        ChosenFile(
            model=name,
            codec=codec,
            allowed_loss=allowed,
            bytes=point.bytes,
            ratio_self_contained=point.ratio_self_contained,
            accuracy_original=original,
            accuracy_decoded=decoded[point.file],
            encode_seconds=point.encode_seconds,
            decode_seconds=point.decode_seconds,
            setting=point.setting,
            file=f"{name}/{point.file}",
            validation_loss=point.validation_loss,
            validation_standard_error=point.validation_standard_error,
        )
        for (codec, allowed), point in chosen.items()
    ]


def _summary(
    name: str, codecs: Sequence[str], chosen: Mapping[tuple[str, float], CurvePoint]
) -> str:
    """The ratios of the codecs that are compared, in one line."""
    ratios = [
        f"{codec} " + ", ".join(_ratio(chosen.get((codec, allowed))) for allowed in ALLOWED_LOSSES)
        for codec in codecs
        if codec in FINE_CODECS
    ]
    losses = ", ".join(map(str, ALLOWED_LOSSES))
    return f"{name}, within {losses} points: {'; '.join(ratios)}"


def _ratio(point: CurvePoint | None) -> str:
    return "none" if point is None else f"{point.ratio_self_contained:.1f}x"


def _settings(data: MnistData, models: Sequence[str], seed: int) -> dict[str, str | int]:
    """How it was measured, for the JSON and the page."""
    threads = torch.get_num_threads()
    settings: dict[str, str | int] = {
        "command": (
            f"python -m experiments rate --models {','.join(models)} --seed {seed} "
            f"--threads {threads}"
        ),
        "data": data.notice,
        "calibration digits": min(CALIBRATION_DIGITS, len(data.train)),
        "validation digits": len(data.validation),
        "test digits": len(data.test),
        "seed": seed,
        "threads": threads,
    }
    if nncodec.installed():
        settings["nncodec"] = nncodec.version()
    return settings
