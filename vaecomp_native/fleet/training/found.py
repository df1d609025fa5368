"""What training finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import FleetDecoder
from vaecomp_native.fleet.prior import LatentPrior

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """A decoder that was tried: its latents and hidden units, and its bytes.

    `divergence` is the mean one of members held out, or None if there was no choice to make.
    """

    latent: int
    hidden: int
    bytes: int
    divergence: float | None


@dataclass(frozen=True)
class Found:
    """The decoder that was chosen, and the table of its latents' codes.

    The rest is there if members' outputs were compared: by which divergence, the bits that each
    latent tells of a member (float32 [L]), the training curve, and the decoders that were tried.
    """

    decoder: FleetDecoder
    prior: LatentPrior
    divergence_kind: str | None = None
    latent_bits: Float32Array | None = None
    history: Sequence[Mapping[str, float]] = ()
    designs: Sequence[Design] = ()

    @property
    def divergence(self) -> float | None:
        """That of the training's last steps."""
        return self.history[-1]["divergence"] if self.history else None

    @property
    def common_bits(self) -> float | None:
        """What the latents of the whole model tell of a member."""
        return self._bits(slice(None, self.decoder.plan.common))

    @property
    def local_bits(self) -> float | None:
        """What the latents of single blocks tell of a member."""
        return self._bits(slice(self.decoder.plan.common, None))

    def _bits(self, latents: slice) -> float | None:
        return None if self.latent_bits is None else float(self.latent_bits[latents].sum())
