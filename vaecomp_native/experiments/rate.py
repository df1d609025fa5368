"""Size against accuracy on MNIST networks, beside ISO/IEC 15938-17 (nncodec).

Each network is trained once and coded at many operating points of every codec. Curves and choices
are made on validation digits: for each allowed loss, a codec's smallest file whose loss stays within it
with a confidence of 95 %, by the standard error of the paired difference. Only the files chosen so are then put
before the test digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaecomp_native.evaluation import nncodec
from vaecomp_native.evaluation.accuracy import percent_correct, predict
from vaecomp_native.evaluation.paired import PairedLoss, paired_loss
from vaecomp_native.evaluation.rate_distortion import (
    QPS,
    QUANTIZERS,
    RATE_WEIGHTS,
    Candidate,
    candidates,
    code,
    load,
)
from vaecomp_native.experiments.files import write_json, write_text
from vaecomp_native.experiments.report import machine
from vaecomp_native.experiments.report.rate import render_rate
from vaecomp_native.progress import Progress, silent
from vaecomp_native.state_dict import read_state_dict
from vaecomp_native.zoo.mnist import Digits, MnistData
from vaecomp_native.zoo.networks import NETWORKS
from vaecomp_native.zoo.training import default_epochs, train_classifier

ALLOWED_LOSSES = (0.2, 0.5, 1.0)
"""Points of accuracy that a file may cost."""

CODECS: tuple[str, ...] = (*QUANTIZERS, "nncodec")
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


@dataclass(frozen=True)
class CurvePoint:
    """A file of one codec; accuracy and loss on the validation digits, in percent and points."""

    codec: str
    setting: Mapping[str, float]
    file: str
    bytes: int
    ratio_self_contained: float
    validation_accuracy: float
    validation_loss: float
    validation_standard_error: float
    encode_seconds: float
    decode_seconds: float

    def within(self, allowed: float) -> bool:
        """Whether the rule of the choice lets the file cost ``allowed`` points."""
        return PairedLoss(self.validation_loss, self.validation_standard_error).within(allowed)


@dataclass(frozen=True)
class ChosenFile:
    """A codec's smallest file for an allowed loss; accuracies in percent on the test digits."""

    model: str
    codec: str
    allowed_loss: float
    bytes: int
    ratio_self_contained: float
    accuracy_original: float
    accuracy_decoded: float
    encode_seconds: float
    decode_seconds: float
    setting: Mapping[str, float]
    file: str
    validation_loss: float
    validation_standard_error: float


@dataclass(frozen=True)
class ModelCurves:
    """One network, its validation accuracy in percent, and a point for every file."""

    parameters: int
    raw_bytes: int
    validation_accuracy: float
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class RateResult:
    """The networks that are finished: chosen files in ``results``, curves in ``models``.

    ``allowed_losses`` are those, in points, that files were chosen for. ``settings`` and ``machine``
    say how and on what it was measured.
    """

    allowed_losses: tuple[float, ...]
    results: tuple[ChosenFile, ...]
    models: Mapping[str, ModelCurves]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)


def run(
    data: MnistData,
    out: Path,
    *,
    models: Sequence[str] = NETWORKS,
    codecs: Sequence[str] = CODECS,
    fine_weights: Sequence[float] = FINE_WEIGHTS,
    coarse_weights: Sequence[float] = COARSE_WEIGHTS,
    qps: Sequence[int] = QPS,
    classifier_epochs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
) -> RateResult:
    """Run the experiment; write the files, ``rate.json`` and ``report.html`` to ``out``.

    The JSON and the page are written again after each network, so that an interruption loses
    none that is finished. Without the package nncodec its rows are left out, which ``notice`` is
    told. ``classifier_epochs`` defaults to what suits the network and the data. Training and
    encoding run on torch's number of threads.
    """
    notice(f"data: {data.notice}")
    if "nncodec" in codecs and not nncodec.installed():
        notice(f"nncodec is not installed, its rows are left out; {nncodec.INSTALL} adds them")
        codecs = [codec for codec in codecs if codec != "nncodec"]
    fine = [codec for codec in codecs if codec in FINE_CODECS]
    coarse = [codec for codec in codecs if codec not in FINE_CODECS]
    plan = [
        *candidates(fine, rate_weights=fine_weights, qps=qps),
        *candidates(coarse, rate_weights=coarse_weights),
    ]
    rows: list[ChosenFile] = []
    curves: dict[str, ModelCurves] = {}
    result = RateResult(ALLOWED_LOSSES, (), {}, _settings(data, models, seed), machine.describe())
    for name in models:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        epochs = classifier_epochs or default_epochs(name, data)
        model = train_classifier(name, data, epochs=epochs, seed=seed, progress=progress).model
        curves[name] = _draw(name, model, plan, folder, data, progress)
        chosen = _choose(curves[name].points)
        rows += _test(name, model, chosen, folder, data.test)
        result = replace(result, results=tuple(rows), models=dict(curves))
        write_text(out / "report.html", render_rate(result))
        write_json(out / "rate.json", result.to_dict())
        notice(_summary(name, codecs, chosen))
    return result


def _draw(
    name: str,
    model: nn.Module,
    plan: Sequence[Candidate],
    folder: Path,
    data: MnistData,
    progress: Progress,
) -> ModelCurves:
    """Write and read back every file of one network, and compare on the validation digits."""
    images, labels = data.validation.images, data.validation.labels
    calibration = torch.split(data.train.images[:CALIBRATION_DIGITS], CALIBRATION_BATCH)
    original = predict(model, images)
    points: list[CurvePoint] = []
    hopeless: set[str] = set()
    for done, candidate in enumerate(plan, start=1):
        if candidate.family in hopeless:
            continue
        file = code(
            model, candidate, folder, calibration=calibration, threads=torch.get_num_threads()
        )
        decoded = predict(load(model, candidate.codec, file.path), images)
        loss = paired_loss(original, decoded, labels)
        points.append(
            CurvePoint(
                codec=candidate.codec,
                setting=candidate.setting,
                file=file.path.name,
                bytes=file.bytes,
                ratio_self_contained=file.ratio_self_contained,
                validation_accuracy=percent_correct(decoded, labels),
                validation_loss=loss.points,
                validation_standard_error=loss.standard_error,
                encode_seconds=file.encode_seconds,
                decode_seconds=file.decode_seconds,
            )
        )
        if loss.points > HOPELESS_LOSS:
            hopeless.add(candidate.family)
        progress(f"coding {name}", done, len(plan), {"bytes": file.bytes, "loss": loss.points})
    state = read_state_dict(model)
    return ModelCurves(
        parameters=state.parameters,
        raw_bytes=sum(array.nbytes for array in state.arrays.values()),
        validation_accuracy=percent_correct(original, labels),
        points=tuple(points),
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
        file: accuracy(load(model, codec, folder / file)) for file, codec in codec_of.items()
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
            f"vaecomp experiment rate --models {','.join(models)} --seed {seed} --threads {threads}"
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
