"""Compression ratios, in the order in which reports must show them.

1. Self-contained: raw bytes over the bytes of the whole file.
2. Amortized over M models that share a decoder. Reports give M and the break-even M* with it.
3. Latents only, as Cheng et al. 2024 count. It leaves the decoder out, so it never stands alone.
"""

from __future__ import annotations


def self_contained_ratio(raw_bytes: int, total_bytes: int) -> float:
    """Raw bytes over the bytes of the whole archive, decoder and container included."""
    return raw_bytes / total_bytes


def amortized_ratio(raw_bytes: int, shared_bytes: int, own_bytes: float, models: int) -> float:
    """Ratio for ``models`` models that share ``shared_bytes``, their decoder.

    Each model has ``raw_bytes`` of weights and sends ``own_bytes`` of its own. With one model this
    is the self-contained ratio.
    """
    return models * raw_bytes / (shared_bytes + models * own_bytes)


def break_even_models(shared_bytes: int, own_bytes: int, alternative_bytes: int) -> int | None:
    """Smallest number of models for which a shared decoder costs no more bytes than none.

    M* = shared / (alternative - own), rounded up, at least 1. ``alternative_bytes`` are the bytes
    that one model takes without a decoder; reports use its raw weights. The result is ``None`` if
    ``own_bytes`` is not below ``alternative_bytes``: then no number of models pays for the decoder.
    """
    saved = alternative_bytes - own_bytes
    return max(1, -(-shared_bytes // saved)) if saved > 0 else None


def latents_only_ratio(parameters: int, latent_numbers: int) -> float:
    """Parameters over latent numbers, as Cheng et al. 2024 count.

    Decoder, container and the bits of a number are not in it.
    """
    return parameters / latent_numbers
