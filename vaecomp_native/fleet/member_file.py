"""A member's file: where each of its tensors comes from, and the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.codecs.differences import encode_differences
from vaecomp_native.codecs.lossless import encode_exact
from vaecomp_native.codecs.quantized import encode_matrices
from vaecomp_native.codecs.sections import SectionKind
from vaecomp_native.fleet.layout import is_ordinary
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.kernels import digest
from vaecomp_native.quantization.matrix import QuantizedMatrix

Array = npt.NDArray[Any]
Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True)
class MemberParts:
    """What a member consists of.

    The prediction of a tensor is what the latents, int8 [L], make of it, or without latents the
    pack's tensor. `residuals` are added to predictions. Tensors in `differences` are stored bit for
    bit, as what they differ by from their predictions, and those in `exact` as they are. Tensors in
    no mapping are their predictions.
    """

    latents: Int8Array | None
    residuals: Mapping[str, QuantizedMatrix] = field(default_factory=dict)
    exact: Mapping[str, Array] = field(default_factory=dict)
    differences: Mapping[str, Array] = field(default_factory=dict)

    def decoded(self, pack: Pack, threads: int) -> dict[str, Array]:
        """All tensors by the pack's names, to the last bit as the file gives them back."""
        result = pack.predictions(self.latents, threads)
        if self.latents is not None and self.residuals:
            values = pack.values(self.latents, threads)
            for name, matrix in self.residuals.items():
                total = values[name] + matrix.values().reshape(values[name].shape)
                with np.errstate(over="ignore"):
                    result[name] = total.astype(pack.base[name].dtype)
        return pack.tied({**result, **self.exact, **self.differences})


@dataclass(frozen=True)
class MemberFile:
    """A member's bytes, and those of its sections.

    `other_bytes` are those of residuals and of tensors that are stored bit for bit.
    """

    data: bytes
    latent_bytes: int
    other_bytes: int


def write_member(
    pack: Pack,
    parts: MemberParts,
    decoded: Mapping[str, Array],
    metadata: Mapping[str, str],
    threads: int = 0,
) -> MemberFile:
    """The file of parts; `decoded` is what they decode to."""
    sections: list[tuple[SectionKind, bytes]] = []
    homes: dict[str, tuple[str, int]] = {}

    def add(kind: SectionKind, section: bytes, names: Mapping[str, Any]) -> None:
        homes.update(dict.fromkeys(names, (kind, len(sections))))
        sections.append((kind, section))

    if parts.latents is not None:
        add("member", pack.reader.encode_member(parts.latents), pack.layout.shapes)
    # The format counts sections from 1 where one may be absent, and the latents are the first.
    if residuals := in_order(pack, parts.residuals):
        add("quantized", encode_matrices(list(residuals.values()), base=1), residuals)
    predicted = pack.predictions(parts.latents, threads) if parts.differences else {}
    for base, arrays in enumerate(_by_base(pack, parts)):
        if arrays:
            add("differences", encode_differences(arrays, predicted, base), arrays)
    if exact := in_order(pack, parts.exact):
        ((kind, section),) = encode_exact(exact, threads=threads).sections
        add(kind, section, exact)
    rows = [
        (*homes[name], digest(decoded[name]))
        if name in homes and name not in pack.aliases
        else None
        for name in pack.base
    ]
    data = pack.reader.write_member(sorted(metadata.items()), sections, rows)
    sizes = [len(section) for _, section in sections]
    latent_bytes = sizes[0] if parts.latents is not None else 0
    return MemberFile(data, latent_bytes, sum(sizes) - latent_bytes)


def in_order(pack: Pack, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What there is of the pack's tensors, in their order."""
    return {name: parts[name] for name in pack.base if name in parts}


def _by_base(pack: Pack, parts: MemberParts) -> tuple[dict[str, Array], dict[str, Array]]:
    """Differences from the pack's tensors, and from what the member section makes.

    With latents both are the same where no decoder changes anything. The exceptions are float64,
    which the latter rounds to float32, and NaNs, whose bits it may change.
    """
    arrays = in_order(pack, parts.differences)
    if parts.latents is None:
        return arrays, {}
    made = {
        name: array
        for name, array in arrays.items()
        if name in pack.layout.shapes
        or (array.dtype != np.float64 and is_ordinary(pack.base[name]))
    }
    return {name: array for name, array in arrays.items() if name not in made}, made
