"""A whole archive to arrays, natively and through the NumPy reference: pytest bench/test_decode.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import vaecomp_native as vc
from vaecomp_native import reference
from vaecomp_native.progress import silent


@pytest.fixture(scope="module", params=["quantized", "compact", "paper"])
def archive(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tensors: list[npt.NDArray[np.float32]],
) -> tuple[str, bytes]:
    """Kind (the quantized codec at 2 bits, or a decoder) and an archive of random weights.

    Training longer would not change the work.
    """
    path: Path = tmp_path_factory.mktemp("archives") / "lstm.vaec"
    weights = {str(i): tensor for i, tensor in enumerate(tensors)}
    if request.param == "quantized":
        vc.compress(weights, path, codec="quantized", bits_per_weight=2, progress=silent)
    else:
        vc.compress(weights, path, codec="vae", vae=vc.VaeConfig(request.param, epochs=1))
    return request.param, path.read_bytes()


@pytest.mark.parametrize("implementation", ["native", "reference"])
def test_decode_archive(
    benchmark: BenchmarkFixture, implementation: str, archive: tuple[str, bytes]
) -> None:
    kind, data = archive
    benchmark.group = f"decode, {kind}"

    def native() -> Any:
        return vc.decode(data, threads=1)

    if implementation == "native":
        benchmark(native)
    else:
        benchmark.pedantic(reference.decode, (data,), rounds=3)  # type: ignore[no-untyped-call]
