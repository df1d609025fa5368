"""A member's file: where each of its tensors comes from, and the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.codecs.exact import encode_exact
from vaecomp_native.codecs.residual import encode_matrices
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.kernels import digest
from vaecomp_native.quantisation.matrix import QuantisedMatrix

Array = npt.NDArray[Any]
Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True)
class MemberParts:
    """What a member consists of: latents int8 [L] or None, residuals on what they decode to, and tensors stored exactly.

    Tensors in neither mapping are what the latents make of them, or the pack's if there are none or no decoder changes them.
    """

    latents: Int8Array | None
    residuals: Mapping[str, QuantisedMatrix] = field(default_factory=dict)
    exact: Mapping[str, Array] = field(default_factory=dict)

    def decoded(self, pack: Pack, threads: int) -> dict[str, Array]:
        """All tensors by the pack's names, to the last bit as the file gives them back."""
        result = {**pack.base, **self.exact}
        if self.latents is None:
            return result
        for name, values in pack.values(self.latents, threads).items():
            if name in self.exact:
                continue
            if name in self.residuals:
                values = values + self.residuals[name].values().reshape(values.shape)
            result[name] = values.astype(pack.base[name].dtype)
        return result


@dataclass(frozen=True)
class MemberFile:
    """A member's bytes, of which `latent_bytes` and `other_bytes` (residuals, and tensors stored exactly) are sections."""

    data: bytes
    latent_bytes: int
    other_bytes: int


def write_member(
    pack: Pack, parts: MemberParts, decoded: Mapping[str, Array], metadata: Mapping[str, str]
) -> MemberFile:
    """The file of parts; `decoded` is what they decode to."""
    sections: list[tuple[SectionKind, bytes]] = []
    if parts.latents is not None:
        sections.append(("member", pack.reader.encode_member(parts.latents)))
    homes: dict[str, tuple[str, int]] = {}
    if parts.latents is not None:
        homes |= dict.fromkeys(pack.layout.shapes, ("member", 0))
    based = [name for name in pack.base if name in parts.residuals]
    if based:
        # The latents are the first section, and the format counts from 1 here.
        section = encode_matrices([parts.residuals[name] for name in based], base=1)
        homes |= dict.fromkeys(based, ("residual", len(sections)))
        sections.append(("residual", section))
    exact = [name for name in pack.base if name in parts.exact]
    if exact:
        encoded: EncodedTensors = encode_exact({name: parts.exact[name] for name in exact})
        ((kind, section),) = encoded.sections
        homes |= dict.fromkeys(exact, (kind, len(sections)))
        sections.append((kind, section))
    rows = [
        (*homes[name], digest(decoded[name])) if name in homes and not alias else None
        for name, alias in pack.aliases.items()
    ]
    data = pack.reader.write_member(sorted(metadata.items()), sections, rows)
    sizes = [len(section) for _, section in sections]
    latent_bytes = sizes[0] if parts.latents is not None else 0
    return MemberFile(data, latent_bytes, sum(sizes) - latent_bytes)
