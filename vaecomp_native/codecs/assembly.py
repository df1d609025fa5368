"""Sections into a file: the one place where an archive's bytes are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.kernels import digest
from vaecomp_native.state_dict import StateDict

TENSOR_CODECS = {
    "latents": "latent",
    "quantized": "quantized",
    "lossless": "lossless",
    "raw": "raw",
}
"""What a tensor's codec is called, by its section's kind."""


def assemble(
    state: StateDict,
    encoded: Sequence[EncodedTensors],
    more: Sequence[tuple[SectionKind, bytes]] = (),
) -> bytes:
    """The file's bytes; tensors are listed in the state dict's order, and `more` sections follow theirs."""
    sections: list[tuple[SectionKind, bytes]] = []
    home: dict[str, tuple[int, EncodedTensors]] = {}
    for part in encoded:
        sections += part.sections
        home |= dict.fromkeys(part.decoded, (len(sections) - 1, part))
    order = {name: i for i, name in enumerate(state.names)}
    rows: list[tuple[Any, ...]] = []
    for name in state.names:
        if name in state.aliases:
            rows.append((name, "alias", order[state.aliases[name]]))
            continue
        section, part = home[name]
        array = part.decoded[name]
        codec = TENSOR_CODECS[sections[section][0]]
        rows.append((name, codec, array.shape, array.dtype, section, digest(array)))
    return _core.write_archive(sorted(state.metadata.items()), [*sections, *more], rows)
