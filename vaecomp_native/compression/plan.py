"""What `compress` would do with weights, before it does it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from vaecomp_native import _core
from vaecomp_native.compression.choice import AUTO, obstacles_to
from vaecomp_native.compression.operators import by_themselves
from vaecomp_native.compression.options import EXACT, Codec, Options, with_option_names
from vaecomp_native.compression.request import Request, Target, make_request
from vaecomp_native.compression.suitability import delicacies
from vaecomp_native.progress import silent

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vaecomp_native.state_dict import Weights

Treatment = Literal["quantized", "latent", "exact", "alias"]


@dataclass(frozen=True)
class PlannedTensor:
    """What `compress` would do with a tensor.

    `bytes` is the size of its elements, 0 for an alias. `operator` names the group of tensors that
    it is quantized with. `calibrated` says whether calibration measures what its errors cost. Both
    are None where nothing is quantized. `reason` is why a tensor stays exact, or the tensor that an
    alias shares its data with.
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
    """A codec that would be tried, unless there is an `obstacle`.

    The obstacle says why it would not be tried. `estimated_bytes` is about the size of its archive,
    if that is why.
    """

    codec: Codec
    obstacle: str | None = None
    estimated_bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What `compress` would do.

    `tensors` are in the archive's order. Their treatment is the quantized codec's if the codec is
    "auto". `codecs` are those that would be compared. `target` is one of: bits of each quantized
    weight, maximum bytes of the file, a rate weight, and the maximum loss of the score.
    `divergence` is how calibration would compare outputs: "kl" or "mse", None without calibration.
    `notes` say what reading the weights chose, changed or left out.
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
        """About the size of the file in bytes; None where the target does not fix it."""
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
        """The whole plan as a dict that JSON can hold."""
        tensors = [asdict(one) | {"description": one.description} for one in self.tensors]
        return asdict(self) | {"tensors": tensors, "estimated_bytes": self.estimated_bytes}


@with_option_names
def plan(weights: Weights, **options: Unpack[Options]) -> Plan:
    """Say what `compress` would do with the same options, without doing it.

    Nothing is written, and no score is asked for. With `calibration` the module runs on the first
    batch, to find its linear operators and the divergence, and is left as it was. An iterator of
    batches is used up: give `plan` and `compress` a list.

    Only `compress` finds out that calibration never uses a tensor, and that a tensor is stored
    without loss because the target's steps are too small for it. It warns of both.

    Raises:
        WeightsError, CalibrationError, TypeError, ValueError: for the reasons of `compress`.
    """
    request = make_request(weights, options, silent)
    obstacles = obstacles_to(request)
    return Plan(
        tensors=_tensors(request),
        codecs=[
            PlannedCodec(one, obstacles[one].why, obstacles[one].estimated_bytes)
            if one in obstacles
            else PlannedCodec(one)
            for one in (AUTO if request.codec == "auto" else [request.codec])
        ],
        quantizer=request.quantizer,
        parameters=request.state.parameters,
        raw_bytes=sum(array.nbytes for array in request.state.arrays.values()),
        target=request.target,
        notes=request.state.notes,
        divergence=None if request.model is None else request.model.divergence,
    )


def _tensors(request: Request) -> list[PlannedTensor]:
    lossy, codec = _lossy(request), request.codec
    exact = {} if codec in EXACT else delicacies(request.floats) | request.unsuitable
    otherwise = f"codec {codec}" if codec in EXACT else "not quantized"
    planned: dict[str, PlannedTensor] = {}
    for name in request.state.names:
        if name in request.state.aliases:
            owner = request.state.aliases[name]
            array = request.state.arrays[owner]
            fields: Mapping[str, Any] = {"treatment": "alias", "reason": owner, "bytes": 0}
        else:
            array = request.state.arrays[name]
            reason = exact.get(name, otherwise)
            fields = lossy.get(name) or {"treatment": "exact", "reason": reason}
            fields = {"bytes": array.nbytes, **fields}
        planned[name] = PlannedTensor(name, array.shape, _core.dtype_name(array.dtype), **fields)
    return list(planned.values())


def _lossy(request: Request) -> dict[str, dict[str, Any]]:
    """The fields of tensors that are not kept exact, by name."""
    if request.codec in EXACT:
        return {}
    if request.codec == "vae":
        return {name: {"treatment": "latent"} for name in by_themselves(request.floats)}
    operators, calibrated = _operators(request)
    return {
        name: {
            "treatment": "quantized",
            "operator": operator,
            "calibrated": name in calibrated,
        }
        for name, operator in operators.items()
    }


def _operators(request: Request) -> tuple[dict[str, str], frozenset[str]]:
    """The operator of each quantized tensor, and the tensors whose sensitivity is measured."""
    if request.model is None or not request.model.batches:
        return {name: name for name in by_themselves(request.floats)}, frozenset()
    from vaecomp_native.compression.calibrated import usable_maps

    module = request.model.module
    maps = usable_maps(module, request.model.batches[0], request.floats)
    operators = {name: one.name for one in maps for name in one.parameters}
    alone = by_themselves(request.floats, operators)
    parameters = dict(module.named_parameters(remove_duplicate=False)).keys()
    return operators | {name: name for name in alone}, frozenset(operators) | {
        name for name in alone if name in parameters
    }
