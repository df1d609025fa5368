"""What `compress` would do with weights, before it does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from vaecomp_native import _core
from vaecomp_native.codecs.vae.codec import DecoderKind
from vaecomp_native.compression.choice import AUTO, EXACT, obstacles_to
from vaecomp_native.compression.operators import by_themselves
from vaecomp_native.compression.request import Codec, Divergence, Job, Quantizer, Target, make_job
from vaecomp_native.compression.suitability import delicacies
from vaecomp_native.progress import silent

if TYPE_CHECKING:
    import torch

    from vaecomp_native.state_dict import Weights

Treatment = Literal["quantized", "latent", "exact", "alias"]


@dataclass(frozen=True)
class PlannedTensor:
    """What would become of a tensor.

    `bytes` are those of its elements, 0 for an alias. `operator` names the tensors' group that is quantized together, and `calibrated` says
    whether calibration measures what its errors cost; both are None where nothing is quantized. `reason` is why a tensor stays exact, or
    the tensor that an alias shares its data with.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    treatment: Treatment
    operator: str | None = None
    calibrated: bool | None = None
    reason: str | None = None

    @property
    def description(self) -> str:
        """The treatment in words."""
        if self.treatment == "alias":
            return f"alias of {self.reason}"
        if self.treatment == "exact":
            return f"exact ({self.reason})"
        if self.operator is None:
            return self.treatment
        measured = "calibrated" if self.calibrated else "data-free"
        if self.operator == self.name:
            return f"quantized ({measured})"
        return f"quantized as part of operator {self.operator} ({measured})"


@dataclass(frozen=True)
class PlannedCodec:
    """A codec that would be tried; `obstacle` says why it would not, `estimated_bytes` about what it would take then."""

    codec: Codec
    obstacle: str | None = None
    estimated_bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What `compress` would do.

    `tensors` are in the archive's order, treated as by the quantized codec if the codec is "auto". `codecs` are those that would be compared.
    The `target` is one of: bits of each quantized weight, most bytes of the file, a rate weight, and the most that the score may fall by.
    `divergence` is how calibration would compare outputs, "kl" or "mse"; None without. `notes` say what reading the weights chose, changed or left out.
    """

    tensors: Sequence[PlannedTensor]
    codecs: Sequence[PlannedCodec]
    quantizer: str
    parameters: int
    raw_bytes: int
    target: Target
    notes: Sequence[str]
    divergence: str | None

    @property
    def estimated_bytes(self) -> int | None:
        """About the size of the file, where the target fixes it."""
        codecs = {one.codec for one in self.codecs if one.obstacle is None}
        if codecs == {"raw"}:
            return self.raw_bytes
        if not codecs & {"quantized", "vae+residual"}:
            return None
        if self.target.weight_bits is None:
            return self.target.file_bytes
        exact = sum(one.bytes for one in self.tensors if one.treatment == "exact")
        quantized = sum(
            math.prod(one.shape) for one in self.tensors if one.treatment == "quantized"
        )
        return exact + math.ceil(self.target.weight_bits * quantized / 8)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        tensors = [asdict(one) | {"description": one.description} for one in self.tensors]
        return asdict(self) | {"tensors": tensors, "estimated_bytes": self.estimated_bytes}


def plan(
    weights: Weights,
    *,
    key: str | None = None,
    codec: Codec | Literal["auto"] = "auto",
    quantizer: Quantizer = "feedback",
    bits_per_weight: float | None = None,
    target_bytes: int | None = None,
    rate_weight: float | None = None,
    max_loss: float | None = None,
    calibration: Iterable[Any] | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    divergence: Divergence = "auto",
    inputs: Callable[[Any], Any] | None = None,
    decoder: DecoderKind = "compact",
    chunk_length: int = 2048,
) -> Plan:
    """What `compress` would do with the same arguments, without doing it.

    Nothing is written, and no score is asked for. With `calibration` the module runs on the first batch, to find its linear
    operators and the divergence, and is left as it was. An iterator of batches is used up: give `plan` and `compress` a list.

    Whether a tensor that calibration never uses is quantized without sensitivity, and whether a tensor is stored without loss because the
    target's steps are too small for it, shows in `compress` only, which warns.

    Raises:
        WeightsError, CalibrationError, ValueError: as `compress` does.
    """
    job = make_job(
        weights,
        key=key,
        codec=codec,
        quantizer=quantizer,
        bits_per_weight=bits_per_weight,
        target_bytes=target_bytes,
        rate_weight=rate_weight,
        max_loss=max_loss,
        calibration=calibration,
        evaluate=evaluate,
        divergence=divergence,
        inputs=inputs,
        chunk_length=chunk_length,
        vae={"decoder": decoder},
        threads=0,
        progress=silent,
    )
    obstacles = obstacles_to(job, codec)
    return Plan(
        tensors=_tensors(job, codec),
        codecs=[
            PlannedCodec(one, obstacles[one].why, obstacles[one].estimated_bytes)
            if one in obstacles
            else PlannedCodec(one)
            for one in (AUTO if codec == "auto" else [codec])
        ],
        quantizer=quantizer,
        parameters=job.state.parameters,
        raw_bytes=sum(array.nbytes for array in job.state.arrays.values()),
        target=job.target,
        notes=job.state.notes,
        divergence=None if job.calibration is None else job.calibration.kind,
    )


def _tensors(job: Job, codec: str) -> list[PlannedTensor]:
    lossy = _lossy(job, codec)
    exact = {} if codec in EXACT else delicacies(job.floats) | job.unsuitable
    otherwise = f"codec {codec}" if codec in EXACT else "not quantized"
    planned: dict[str, PlannedTensor] = {}
    for name in job.state.names:
        if name in job.state.aliases:
            owner = job.state.aliases[name]
            array = job.state.arrays[owner]
            fields: Mapping[str, Any] = {"treatment": "alias", "reason": owner, "bytes": 0}
        else:
            array = job.state.arrays[name]
            reason = exact.get(name, otherwise)
            fields = lossy.get(name) or {"treatment": "exact", "reason": reason}
            fields = {"bytes": array.nbytes, **fields}
        planned[name] = PlannedTensor(name, array.shape, _core.dtype_name(array.dtype), **fields)
    return list(planned.values())


def _lossy(job: Job, codec: str) -> dict[str, dict[str, Any]]:
    """Fields of the tensors that are not kept exactly."""
    if codec in EXACT:
        return {}
    if codec == "vae":
        return {name: {"treatment": "latent"} for name in by_themselves(job.floats)}
    operators, calibrated = _operators(job)
    return {
        name: {
            "treatment": "quantized",
            "operator": operator,
            "calibrated": name in calibrated,
        }
        for name, operator in operators.items()
    }


def _operators(job: Job) -> tuple[dict[str, str], frozenset[str]]:
    """The operator of each tensor that is quantized, and the tensors whose sensitivity is measured."""
    if job.calibration is None or not job.calibration.batches:
        return {name: name for name in by_themselves(job.floats)}, frozenset()
    from vaecomp_native.compression.calibrated import usable_maps

    module = job.calibration.module
    maps = usable_maps(module, job.calibration.batches[0], job.floats)
    operators = {name: one.name for one in maps for name in one.parameters}
    alone = by_themselves(job.floats, operators)
    parameters = dict(module.named_parameters(remove_duplicate=False)).keys()
    return operators | {name: name for name in alone}, frozenset(operators) | {
        name for name in alone if name in parameters
    }
