"""The executable specification: every kernel and the whole decode in plain NumPy.

This package follows ``docs/kernels.md`` and ``docs/format.md`` step by step and shares no code with
the native module. The native kernels are tested against it byte for byte, and the benchmarks
compare with it. It puts clarity before speed. It needs NumPy, and ``ml_dtypes`` only to make
bfloat16 or float8 arrays.
"""

from __future__ import annotations

from vaecomp_native.reference.archive import decode
from vaecomp_native.reference.checks import crc32c, digest, xxh64
from vaecomp_native.reference.chunk import flatten_chunk, unchunk
from vaecomp_native.reference.contexts import fit_contexts
from vaecomp_native.reference.feedback import feedback_quantize
from vaecomp_native.reference.linear_f32 import decoder_f32, fma
from vaecomp_native.reference.linear_i8 import decoder_i8
from vaecomp_native.reference.noise import noise_variants
from vaecomp_native.reference.rans import (
    FrequencyTable,
    Tables,
    decode_block,
    decode_symbols,
    encode_block,
    encode_symbols,
    frequency_table,
)

__all__ = [
    "FrequencyTable",
    "Tables",
    "crc32c",
    "decode",
    "decode_block",
    "decode_symbols",
    "decoder_f32",
    "decoder_i8",
    "digest",
    "encode_block",
    "encode_symbols",
    "feedback_quantize",
    "fit_contexts",
    "flatten_chunk",
    "fma",
    "frequency_table",
    "noise_variants",
    "unchunk",
    "xxh64",
]
