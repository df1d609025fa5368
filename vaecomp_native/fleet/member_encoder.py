"""What goes into a member's file: latents alone, a residual on them, or everything bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.bits import identical
from vaecomp_native.codecs.differences import has_differences
from vaecomp_native.compression.fit import fitting, trial_model
from vaecomp_native.compression.suitability import is_delicate
from vaecomp_native.errors import UnreachableError
from vaecomp_native.fleet.layout import is_ordinary
from vaecomp_native.fleet.member_file import MemberParts, write_member
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.progress import Progress

if TYPE_CHECKING:
    from vaecomp_native.calibration.model import CalibratedModel

Array = npt.NDArray[Any]
Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]
STARTING_RATE_WEIGHT = 0.5
"""Where the search for a residual's rate weight starts: little is left of most members."""


@dataclass(frozen=True)
class Choice:
    """Parts, what they decode to, and the rate weight of the residual, if there is one."""

    parts: MemberParts
    decoded: Mapping[str, Array]
    rate_weight: float | None = None


@dataclass(frozen=True)
class MemberEncoder:
    """Chooses the parts of a member `arrays`, copies of its tensors by the pack's names."""

    pack: Pack
    arrays: Mapping[str, Array]
    model: CalibratedModel | None
    threads: int
    progress: Progress

    def lossless(self, latents: Int8Array | None) -> Choice:
        """Every tensor bit for bit, in the fewest bytes.

        Tried are differences from what latents make, differences from the base alone, and neither.
        """
        changed = self._changed(self.arrays)
        tried = [MemberParts(None, exact=changed), self._with_differences(None, changed)]
        if latents is not None:
            made = {name: self.arrays[name] for name in self.pack.layout.shapes}
            tried.append(self._with_differences(latents, changed | made))
        return self._smallest(tried)

    def lossy(
        self, latents: Int8Array, rate_weight: float | None, min_score: float | None
    ) -> Choice:
        """Latents, and maybe a residual: at a rate weight, or the coarsest that scores `min_score`.

        The latter is added if latents alone score less. What no decoder changes comes back bit for
        bit, and so do the tensors in `unfollowed`.
        """
        others = self._changed(
            {
                name: array
                for name, array in self.arrays.items()
                if name not in self.pack.layout.shapes or name in self.unfollowed
            }
        )
        tried = [MemberParts(latents, exact=others)]
        if others:
            tried.append(self._with_differences(latents, others))
        alone = self._smallest(tried)
        if rate_weight is None and (min_score is None or self.score(alone.decoded) >= min_score):
            return alone
        try:
            return self._with_residual(alone.parts, latents, rate_weight, min_score)
        except UnreachableError:
            return self.lossless(latents)

    @cached_property
    def unfollowed(self) -> tuple[str, ...]:
        """Tensors that decoders change, with values that none can follow."""
        return tuple(n for n in self.pack.layout.shapes if not is_ordinary(self.arrays[n]))

    def score(self, decoded: Mapping[str, Array]) -> float:
        """The caller's score of the module with decoded weights.

        The module is as it was afterwards.
        """
        assert self.model is not None
        names = self.pack.layout.shapes
        originals = {name: self.arrays[name] for name in names}
        with trial_model(originals, replace(self.model, batches=())).restored() as trial:
            trial.replace({name: decoded[name] for name in names})
            return self.model.score()

    def _with_residual(
        self,
        parts: MemberParts,
        latents: Int8Array,
        rate_weight: float | None,
        min_score: float | None,
    ) -> Choice:
        """A residual on what latents make, as `lossy` wants it. Raises UnreachableError."""
        predicted = {
            name: values
            for name, values in self.pack.values(latents, self.threads).items()
            if name not in self.unfollowed and not is_delicate(self.arrays[name])
        }
        lossy = {name: self.arrays[name] for name in predicted}
        with fitting(
            lossy, "feedback", self.model, self.threads, self.progress, predicted
        ) as fitter:
            if rate_weight is None:
                assert min_score is not None
                fit = fitter.keeping_score(min_score, start=STARTING_RATE_WEIGHT)
            else:
                fit = fitter.at_rate_weight(rate_weight)
            # A residual of zeros costs bytes and changes nothing.
            residuals = {n: one for n, one in fit.encoding.matrices.items() if one.symbols.any()}
            exact = {name: self.arrays[name] for name in fit.encoding.unquantizable}
            found = replace(parts, residuals=residuals, exact={**parts.exact, **exact})
            return self._choice(found, fit.rate_weight)

    def _with_differences(
        self, latents: Int8Array | None, arrays: Mapping[str, Array]
    ) -> MemberParts:
        """Some tensors bit for bit, as differences from predictions where the dtype has any."""
        predicted = self.pack.predictions(latents, self.threads)
        stored = {n: a for n, a in arrays.items() if not identical(a, predicted[n])}
        differences = {n: array for n, array in stored.items() if has_differences(array.dtype)}
        exact = {name: array for name, array in stored.items() if name not in differences}
        return MemberParts(latents, exact=exact, differences=differences)

    def _smallest(self, tried: Sequence[MemberParts]) -> Choice:
        """The parts that make the shortest file."""
        choices = [self._choice(parts) for parts in tried]
        return choices[0] if len(choices) == 1 else min(choices, key=self._bytes)

    def _bytes(self, choice: Choice) -> int:
        return len(write_member(self.pack, choice.parts, choice.decoded, {}, self.threads).data)

    def _choice(self, parts: MemberParts, rate_weight: float | None = None) -> Choice:
        return Choice(parts, parts.decoded(self.pack, self.threads), rate_weight)

    def _changed(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Those that are not, bit for bit, the pack's own."""
        return {
            name: array
            for name, array in arrays.items()
            if name not in self.pack.aliases and not identical(array, self.pack.base[name])
        }
