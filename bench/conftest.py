"""Inputs of the benchmarks, with the sizes of a compressed LSTM classifier."""

from __future__ import annotations

from typing import Any

import inputs
import numpy as np
import numpy.typing as npt
import pytest

PARAMETERS = 214_282
SYMBOLS = 131_072


@pytest.fixture(scope="session")
def rng() -> np.random.Generator:
    """The source of all inputs, the same in every run."""
    return np.random.default_rng(2024)


@pytest.fixture(scope="session")
def tensors(rng: np.random.Generator) -> list[npt.NDArray[np.float32]]:
    """The float32 tensors of an LSTM with 28 inputs, 2 layers of 128 units and 10 classes."""
    shapes = [
        (512, 28),
        (512, 128),
        (512,),
        (512,),
        (512, 128),
        (512, 128),
        (512,),
        (512,),
        (10, 128),
    ]
    found = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    rest = PARAMETERS - sum(tensor.size for tensor in found)
    return [*found, rng.standard_normal(rest).astype(np.float32)]


@pytest.fixture(scope="session")
def integer_layers(rng: np.random.Generator) -> list[tuple[npt.NDArray[Any], ...]]:
    """A 64-512-2048 integer decoder."""
    return inputs.integer_layers(rng)


@pytest.fixture(scope="session")
def float32_layers(
    rng: np.random.Generator,
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """A 64-512-2048 float32 decoder."""
    return inputs.float32_layers(rng)


@pytest.fixture(scope="session")
def symbols(rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """int8 latents of a typical spread, as symbols."""
    values = np.clip(np.rint(rng.standard_normal(SYMBOLS) * 20), -128, 127)
    return values.astype(np.int32)
