"""A base and decoders into a pack's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaecomp_native import _core
from vaecomp_native.codecs.sections import SectionKind
from vaecomp_native.compression.candidates import Candidate, assemble
from vaecomp_native.compression.choice import encode_best
from vaecomp_native.compression.request import make_job
from vaecomp_native.fleet.group import Group
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import StateDict

if TYPE_CHECKING:
    from vaecomp_native.state_dict import Weights

BASE_OPTIONS: Mapping[str, Any] = {
    "codec": "lossless",
    "quantizer": "feedback",
    "bits_per_weight": None,
    "target_bytes": None,
    "rate_weight": None,
    "max_loss": None,
    "calibration": None,
    "evaluate": None,
    "divergence": "auto",
    "inputs": None,
}
"""What can be said of the base's compression, and what holds if nothing is."""


def encode_base(
    base: Weights, options: Mapping[str, Any], threads: int, progress: Progress
) -> tuple[StateDict, Candidate]:
    """The base as `compress` encodes it. Raises what that raises."""
    unknown = [name for name in options if name not in BASE_OPTIONS]
    if unknown:
        raise ValueError(f"base_options has '{unknown[0]}'; choose from {', '.join(BASE_OPTIONS)}")
    chosen = {**BASE_OPTIONS, **options}
    job = make_job(
        base,
        key=None,
        chunk_length=2048,
        vae={"decoder": "compact"},
        threads=threads,
        progress=progress,
        **chosen,
    )
    made, _ = encode_best(job, chosen["codec"])
    return job.state, made


def pack_bytes(
    state: StateDict,
    base: Candidate,
    groups: Sequence[Group],
    prior: LatentPrior,
    latents: int,
) -> bytes:
    """The pack: the base's sections, a decoder for each group, and the fleet section behind them."""
    first = sum(len(part.sections) for part in base.parts)
    order = {name: i for i, name in enumerate(state.names)}
    decoders: list[tuple[SectionKind, bytes]] = [
        ("integer_decoder", group.section()) for group in groups
    ]
    fleet = _core.encode_fleet(
        [(latents, prior.first, prior.counts)],
        [
            (
                first + number,
                group.decoder.chunk_length,
                list(group.slices),
                [order[name] for name in group.shapes],
                group.position,
            )
            for number, group in enumerate(groups)
        ],
    )
    return assemble(state, base.parts, [*decoders, ("fleet", fleet)])
