"""Large weights a group of tensors at a time: only here is a part of them in memory.

Each group becomes sections of its own. So memory is bounded, and so is what a reader decodes for
one tensor.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt

from vaecomp_native.codecs.assembly import Draft, Finished
from vaecomp_native.codecs.lossless import encode_lossless
from vaecomp_native.codecs.sections import EncodedTensors, encode_raw
from vaecomp_native.compression.candidates import quantized_parts
from vaecomp_native.compression.choice import RunnerUp
from vaecomp_native.compression.encoder import Encoder
from vaecomp_native.compression.fit import data_free_encoder
from vaecomp_native.compression.losses import Losses
from vaecomp_native.compression.options import EXACT, Codec, Options, with_defaults
from vaecomp_native.compression.request import Request
from vaecomp_native.quantization.batches import batches

Array = npt.NDArray[Any]
SECTION_BYTES = 1 << 28
"""The bytes of weights above which they are treated in groups of at most so many."""


@dataclass(frozen=True)
class OperatingPoint:
    """How all groups are encoded.

    `rate_weight` is that of the quantized codec in its operators' own costs, of which `unit` is the
    typical one. `bits` is about what the quantized tensors take, and `bytes` about the size of all.
    `compared` says which codecs were not chosen.
    """

    codec: Codec
    bytes: int
    rate_weight: float | None = None
    unit: float = 1.0
    bits: float = 0.0
    compared: Sequence[RunnerUp] = ()

    @property
    def relative_rate_weight(self) -> float | None:
        """The rate weight as `compress` takes it and reports it."""
        return None if self.rate_weight is None else self.rate_weight / self.unit


def takes_groups(options: Options) -> bool:
    """Whether what is asked of `compress` can be done a group at a time.

    Calibration, scores and the latent codecs need all weights at once, and the published quantizers
    have no prediction of sizes.
    """
    asked = with_defaults(options)
    runs_model = asked["calibration"] is not None or asked["evaluate"] is not None
    return (
        asked["codec"] in ("auto", "quantized", *EXACT)
        and asked["quantizer"] == "feedback"
        and not runs_model
    )


def groups_of(request: Request, names: Sequence[str]) -> list[list[str]]:
    """Cut names into groups of about equal size, at most `SECTION_BYTES`, or of a larger tensor.

    Aliases are in no group.
    """
    forms = request.state.forms
    sizes = {name: forms[name].nbytes for name in names if name in forms}
    total = sum(sizes.values())
    return list(batches(sizes, -(-total // max(1, -(-total // SECTION_BYTES)))))


def read_groups(request: Request, groups: Sequence[Sequence[str]]) -> Iterator[Request]:
    """Yield for each group a request of its tensors alone, which are read now."""
    for names in groups:
        yield replace(request, state=request.state.only(names))


def encode_in_groups(
    request: Request,
    names: Sequence[str],
    point: OperatingPoint,
    directory: Path | None,
    done: Callable[[], None],
) -> tuple[Finished, Losses]:
    """Make the archive of the named tensors, aliases among them, group after group.

    What is made lies in a temporary file in `directory`. `done` is called after each group.
    """
    draft, losses = Draft(directory, threads=request.threads), Losses()
    for group in read_groups(request, groups_of(request, names)):
        losses = losses.plus(_add_group(draft, group, point))
        del group  # before the next one is read
        done()
    aliases = {name: owner for name, owner in request.state.aliases.items() if name in set(names)}
    return draft.finish(names, aliases, request.state.metadata), losses


def _add_group(draft: Draft, group: Request, point: OperatingPoint) -> Losses:
    parts, losses = _encode_group(group, point)
    for part in parts:
        draft.add(part)
    return losses


def _encode_group(group: Request, point: OperatingPoint) -> tuple[list[EncodedTensors], Losses]:
    if point.codec in EXACT:
        if point.codec == "raw":
            return [encode_raw(group.state.arrays)], Losses()
        return [encode_lossless(group.state.arrays, threads=group.threads)], Losses()
    assert point.rate_weight is not None
    encoding = group_encoder(group).encode(point.rate_weight)
    parts = quantized_parts(group, encoding.matrices)
    decoded = ChainMap(*(cast("dict[str, Array]", part.decoded) for part in parts))
    losses = Losses.of(group, point.codec, encoding.matrices, decoded, encoding.unquantizable)
    return parts, losses


def group_encoder(group: Request) -> Encoder:
    """The encoder of the tensors of a group that are not kept exact."""
    return data_free_encoder(group.floats, group.quantizer, group.threads)
