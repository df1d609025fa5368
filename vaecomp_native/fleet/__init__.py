"""Fleets: one learned decoder for many related models.

>>> vc.fleet.train(members, "fleet.vaepack", base=base)
>>> vc.fleet.compress(member, "user-17.vaec", pack="fleet.vaepack")
>>> weights = vc.decode("user-17.vaec", pack="fleet.vaepack")

`train` writes a pack: a base model, and a decoder of what its fine-tunes differ in. `compress`
describes a further model by some latents, and `decode` decodes many of them at once.
`compress_many` and `decode_many` do that with files, on this machine or on a cluster.
"""

from __future__ import annotations

from vaecomp_native.fleet.compress import MemberReport, compress
from vaecomp_native.fleet.decode import decode
from vaecomp_native.fleet.many.compress import compress_many
from vaecomp_native.fleet.many.decode import decode_many
from vaecomp_native.fleet.many.report import ManyReport
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.fleet.train import PackReport, train

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
