"""What of a member goes into its file: latents alone, a residual on them, or everything bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.allocation.fit import Calibration, Fitter, call_evaluate, fitting, workbench
from vaecomp_native.codecs.differences import has_differences
from vaecomp_native.fleet.member_file import MemberParts, write_member
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import is_delicate

Array = npt.NDArray[Any]
Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]
COARSEST, FINEST = 4, -18
"""Powers of two between which a residual's rate weight is looked for."""


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
    calibration: Calibration | None
    threads: int
    progress: Progress

    def lossless(self, latents: Int8Array | None) -> Choice:
        """Every tensor bit for bit: the smallest of differences from what latents make, from the base alone, and neither."""
        changed = self._changed(self.arrays)
        tried = [MemberParts(None, exact=changed), self._with_differences(None, changed)]
        if latents is not None:
            made = {name: self.arrays[name] for name in self.pack.layout.shapes}
            tried.append(self._with_differences(latents, changed | made))
        return self._smallest(tried)

    def lossy(self, latents: Int8Array, rate_weight: float | None, least: float | None) -> Choice:
        """Latents; with a residual at a rate weight, or with the coarsest that scores `least` if latents alone do not."""
        others = self._changed(
            {
                name: array
                for name, array in self.arrays.items()
                if name not in self.pack.layout.shapes
            }
        )
        tried = [MemberParts(latents, exact=others)]
        if others:
            tried.append(self._with_differences(latents, others))
        alone = self._smallest(tried)
        if rate_weight is None and (least is None or self.score(alone.decoded) >= least):
            return alone
        values = self.pack.values(latents, self.threads)
        rest = {
            name: self.arrays[name].astype(np.float32) - one
            for name, one in values.items()
            if not is_delicate(self.arrays[name])
        }
        lossy = {name: self.arrays[name] for name in rest}
        with fitting(lossy, "feedback", self.calibration, self.threads, self.progress) as fitter:
            if rate_weight is not None:
                return self._with_residual(alone.parts, rest, fitter, rate_weight)
            assert least is not None
            return self._keeping(least, alone.parts, rest, fitter)

    def score(self, decoded: Mapping[str, Array]) -> float:
        """The caller's score of the module with decoded weights; the module is as it was afterwards."""
        assert self.calibration is not None
        names = self.pack.layout.shapes
        originals = {name: self.arrays[name] for name in names}
        with workbench(originals, replace(self.calibration, batches=())).restored() as bench:
            bench.replace({name: decoded[name] for name in names})
            return call_evaluate(self.calibration)

    def _keeping(
        self,
        least: float,
        parts: MemberParts,
        rest: Mapping[str, Float32Array],
        fitter: Fitter,
    ) -> Choice:
        """The coarsest residual whose score is at least `least`, by bisection; everything bit for bit if none's is."""
        best = self.lossless(parts.latents)
        low, high = FINEST - 1, COARSEST + 1
        expected = (high - low).bit_length()
        tried = 0
        while high - low > 1:
            middle = (low + high) // 2
            choice = self._with_residual(parts, rest, fitter, 2.0**middle)
            reached = self.score(choice.decoded)
            tried += 1
            self.progress("searching", tried, max(expected, tried), {"score": reached})
            if reached >= least:
                best, low = choice, middle
            else:
                high = middle
        return best

    def _with_residual(
        self,
        parts: MemberParts,
        rest: Mapping[str, Float32Array],
        fitter: Fitter,
        rate_weight: float,
    ) -> Choice:
        encoder = fitter.encoder
        matrices, failed = encoder.quantise_instead(rest, rate_weight * fitter.unit)
        lost = {
            name
            for operator in encoder.operators
            if operator.name in failed
            for name in operator.tensors
        }
        # A residual of zeros costs bytes and changes nothing.
        residuals = {name: matrix for name, matrix in matrices.items() if matrix.symbols.any()}
        exact = {**parts.exact, **{name: self.arrays[name] for name in lost}}
        return self._choice(replace(parts, residuals=residuals, exact=exact), rate_weight)

    def _with_differences(
        self, latents: Int8Array | None, arrays: Mapping[str, Array]
    ) -> MemberParts:
        """Some tensors bit for bit: as differences from their predictions if their dtype has any."""
        predicted = self.pack.predictions(latents, self.threads)
        stored = {n: a for n, a in arrays.items() if a.tobytes() != predicted[n].tobytes()}
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
            if self.pack.aliases[name] is None and array.tobytes() != self.pack.base[name].tobytes()
        }
