"""Fleets: one learned decoder for many related models.

>>> vc.fleet.train(members, base=base, out="fleet.vaepack")
>>> vc.fleet.compress(member, "fleet.vaepack", "user-17.vaec")
>>> weights = vc.decode("user-17.vaec", pack="fleet.vaepack")

`train` packs a base model and a decoder, `compress` describes further models by some latents, and `decode` decodes many of
them at once. `compress_many` and `decode_many` do that with files, on this machine or on a cluster.
"""

from __future__ import annotations

from vaecomp_native.fleet.bulk import decode
from vaecomp_native.fleet.many import ManyReport, compress_many
from vaecomp_native.fleet.many_decoded import decode_many
from vaecomp_native.fleet.member import MemberReport, compress
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.fleet.training import PackReport, train

__all__ = [
    "ManyReport",
    "MemberReport",
    "Pack",
    "PackReport",
    "compress",
    "compress_many",
    "decode",
    "decode_many",
    "train",
]
