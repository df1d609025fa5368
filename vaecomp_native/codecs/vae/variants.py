"""Noisy variants of the weights, made tile by tile while they are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from vaecomp_native import kernels
from vaecomp_native.decoders import Float32Array


@dataclasses.dataclass(frozen=True)
class Tile:
    """`variants` variants from `first_variant` of chunks `first_chunk .. last_chunk - 1`."""

    first_variant: int
    variants: int
    first_chunk: int
    last_chunk: int


@dataclasses.dataclass(frozen=True)
class Variants:
    """A range of noisy variants of the same chunks.

    Every number of every variant is a function of the seed and its position, so that a tile equals
    that slice of all variants at once (docs/kernels.md, section 2) and no more than a tile is ever
    held.

    Args:
        chunks: float32 [K, C], contiguous.
        first, count: the range of variants.
        probability: share of the numbers that carry noise.
        sigma: standard deviation of the noise, in the unit of the chunks.
        seed: of the noise.
        batch_chunks: chunks in a tile at most.
        threads: of the kernel; 0 takes all cores.
    """

    chunks: Float32Array
    first: int
    count: int
    probability: float
    sigma: float
    seed: int
    batch_chunks: int
    threads: int = 0

    def tiles(self) -> list[Tile]:
        """All tiles, variants outermost; the chunks of a variant are split evenly."""
        total = len(self.chunks)
        chunks = -(-total // -(-total // self.batch_chunks))
        variants = max(1, self.batch_chunks // total)
        return [
            Tile(v, min(variants, self.first + self.count - v), k, min(k + chunks, total))
            for v in range(self.first, self.first + self.count, variants)
            for k in range(0, total, chunks)
        ]

    def read(self, tile: Tile) -> Float32Array:
        """[variants * chunks, C]: all chunks of the tile's first variant, then of the next."""
        length = self.chunks.shape[1]
        noisy = kernels.noise_variants(
            self.chunks[tile.first_chunk : tile.last_chunk].reshape(-1),
            tile.variants,
            probability=self.probability,
            sigma=self.sigma,
            seed=self.seed,
            first_variant=tile.first_variant,
            first_index=tile.first_chunk * length,
            threads=self.threads,
        )
        return noisy.reshape(-1, length)

    def shuffled(self, generator: torch.Generator) -> Iterator[tuple[Tile, Float32Array]]:
        """Every tile once, in an order drawn from `generator` (on the CPU)."""
        tiles = self.tiles()
        for index in torch.randperm(len(tiles), generator=generator).tolist():
            yield tiles[index], self.read(tiles[index])

    def __iter__(self) -> Iterator[tuple[Tile, Float32Array]]:
        for tile in self.tiles():
            yield tile, self.read(tile)
