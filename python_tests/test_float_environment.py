"""The kernels' results do not depend on the caller's rounding mode or treatment of subnormals."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from vaecomp_native import kernels
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer

from .samples import FLOAT_DTYPES, float_values

# FE_UPWARD, FE_DOWNWARD and FE_TOWARDZERO of <fenv.h>.
ROUNDING_MODES = {
    "x86_64": (0x800, 0x400, 0xC00),
    "aarch64": (0x400000, 0x800000, 0xC00000),
}.get(platform.machine(), ())


@contextmanager
def rounding(mode: int) -> Iterator[None]:
    """Another rounding mode in this thread."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = libm.fegetround()
    assert libm.fesetround(mode) == 0
    try:
        yield
        assert libm.fegetround() == mode
    finally:
        libm.fesetround(before)


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Subnormals are taken for zero, and made zero, in this thread."""
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush subnormals")
    try:
        yield
        assert (np.full(1, 1e-39, np.float32) * np.float32(0.5))[0] == 0
    finally:
        torch.set_flush_denormal(False)


RNG = np.random.default_rng(9)
TENSORS = [float_values(RNG, dtype, 500) for dtype in FLOAT_DTYPES]
BASE = (RNG.standard_normal(5000) * 1e-38).astype(np.float32)
CHUNKS = float_values(RNG, np.dtype(np.float32), 500)[None]
FLOAT_LAYERS = tuple(
    Float32Layer(
        (RNG.standard_normal(shape) * 1e-10).astype(np.float32),
        (RNG.standard_normal(shape[0]) * 1e-30).astype(np.float32),
    )
    for shape in ((33, 7), (50, 33))
)
FLOAT_LATENTS = (RNG.standard_normal((5, 7)) * 1e-20).astype(np.float32)
INTEGER_LAYERS = (
    IntegerLayer(
        RNG.integers(-128, 128, (50, 7)).astype(np.int8),
        RNG.integers(-(2**31), 2**31, 50).astype(np.int32),
        scale=(RNG.standard_normal(50) * 1e-47).astype(np.float32),
    ),
)
INTEGER_LATENTS = RNG.integers(-128, 128, (5, 7)).astype(np.int8)

Kernel = Callable[[int], list[npt.NDArray[Any]]]
KERNELS: dict[str, Kernel] = {
    "flatten_chunk": lambda threads: [kernels.flatten_chunk(TENSORS, 64, threads=threads)[0]],
    "unchunk": lambda threads: kernels.unchunk(
        CHUNKS, [((100,), ml_dtypes.bfloat16), ((200,), np.float16), ((200,), np.float64)]
    ),
    "noise_variants": lambda threads: [
        kernels.noise_variants(BASE, 3, probability=0.3, sigma=2.0**-130, seed=1, threads=threads),
        kernels.noise_variants(BASE, 3, probability=1 / 3, sigma=0.5, seed=1, threads=threads),
    ],
    "decoder_i8": lambda threads: [
        IntegerDecoder(INTEGER_LAYERS).forward(INTEGER_LATENTS, threads=threads)
    ],
    "decoder_f32": lambda threads: [
        Float32Decoder(FLOAT_LAYERS).forward(FLOAT_LATENTS, threads=threads)
    ],
}


def results(kernel: str, threads: int) -> list[bytes]:
    """The bytes of all that a kernel gives."""
    return [array.tobytes() for array in KERNELS[kernel](threads)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_callers_environment_is_left_out(isa: str, kernel: str, threads: int) -> None:
    expected = results(kernel, threads)
    for mode in ROUNDING_MODES:
        with rounding(mode):
            found = results(kernel, threads)
        assert found == expected
    with subnormals_flushed():
        found = results(kernel, threads)
    assert found == expected
