"""The bytes of a pack: its base, as `compress` encodes it, and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaecomp_native import _core
from vaecomp_native.codecs.assembly import assemble
from vaecomp_native.codecs.sections import SectionKind
from vaecomp_native.compression.candidates import Candidate
from vaecomp_native.compression.choice import encode_best
from vaecomp_native.compression.options import DEFAULTS, Options
from vaecomp_native.compression.request import make_request
from vaecomp_native.fleet.group import Group
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import StateDict

if TYPE_CHECKING:
    from vaecomp_native.state_dict import Weights

NOT_OF_A_BASE = ("key", "vae", "threads")
"""Options of `compress` that a pack's base does not take."""


def encode_base(
    base: Weights, options: Options, threads: int, progress: Progress
) -> tuple[StateDict, Candidate]:
    """The base as `compress` encodes it, by default without loss. Raises what that raises."""
    choices = [name for name in DEFAULTS if name not in NOT_OF_A_BASE]
    unknown = [name for name in options if name not in choices]
    if unknown:
        raise ValueError(f"base_options has '{unknown[0]}'; choose from {', '.join(choices)}")
    chosen: Options = {"codec": "lossless", **options, "threads": threads}
    request = make_request(base, chosen, progress)
    made, _ = encode_best(request)
    return request.state, made


def pack_bytes(
    state: StateDict,
    base: Candidate,
    groups: Sequence[Group],
    prior: LatentPrior,
    latents: int,
) -> bytes:
    """The pack: the base's sections, then a decoder for each group, then the fleet section."""
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
