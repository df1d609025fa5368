"""Compression ratios with every byte counted, in the order in which reports must show them.

1. self-contained: raw bytes over the whole file;
2. amortized over M models that share a decoder, with M and the break-even M*;
3. latents only, the count of Cheng et al. 2024, which leaves the decoder out: never alone.
"""

from __future__ import annotations


def self_contained_ratio(raw_bytes: int, total_bytes: int) -> float:
    """Raw weights over the archive with container, decoder, latents, tables and all the rest."""
    return raw_bytes / total_bytes


def amortized_ratio(raw_bytes: int, shared_bytes: int, own_bytes: float, models: int) -> float:
    """Ratio for ``models`` models of ``raw_bytes`` each that share ``shared_bytes`` (a decoder).

    Each model sends ``own_bytes`` of its own beside it. With one model this is the
    self-contained ratio.
    """
    return models * raw_bytes / (shared_bytes + models * own_bytes)


def break_even_models(shared_bytes: int, own_bytes: int, alternative_bytes: int) -> int | None:
    """Smallest number of models for which sharing costs no more than doing without a decoder.

    M* = shared / (alternative - own), rounded up, at least 1, where ``alternative_bytes`` is what
    one model takes without a decoder; reports take its raw weights. ``None`` if a model's own bytes
    alone are not below that: then no number of models pays for the decoder.
    """
    saved = alternative_bytes - own_bytes
    return max(1, -(-shared_bytes // saved)) if saved > 0 else None


def latents_only_ratio(parameters: int, latent_numbers: int) -> float:
    """The paper's count: parameters over latent numbers; no decoder, no container, no bits."""
    return parameters / latent_numbers
