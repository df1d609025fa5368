"""Weights in memory: what is a tensor, what is tied, and what is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import vaecomp_native as vc
from vaecomp_native.state_dict import read_state_dict

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of kinds that are experimental


def fake() -> torch.Tensor:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(3)


REFUSED = {
    "sparse": (lambda: torch.eye(3).to_sparse(), r"to_dense\(\)"),
    "sparse rows": (lambda: torch.eye(3).to_sparse_csr(), r"to_dense\(\)"),
    "mkldnn": (lambda: torch.ones(3, 3).to_mkldnn(), r"to_dense\(\)"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        r"dequantize\(\)",
    ),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        "nested",
    ),
    "meta": (lambda: torch.empty(3, device="meta"), "meta device"),
    "lazy": (lambda: torch.nn.LazyLinear(3).weight, "not initialized"),
    "fake": (fake, "FakeTensor"),
    "bits": (lambda: torch.zeros(3, dtype=torch.uint8).view(torch.bits8), "bits8"),
    "masked": (lambda: np.ma.array([1.0, 2.0], mask=[False, True]), r"filled\(value\)"),
    "objects": (lambda: np.array([{}]), "object"),
    "texts": (lambda: np.array(["a"]), "dtype <U1"),
    "dates": (lambda: np.zeros(2, "M8[s]"), "datetime64"),
    "records": (lambda: np.zeros(2, [("x", "f4")]), "dtype"),
    "long doubles": (lambda: np.zeros(2, np.longdouble), "convert it"),
    "text": (lambda: "weights", "str"),
    "nothing": (lambda: None, "NoneType"),
    "33 dimensions": (lambda: torch.ones((1,) * 33), "33 dimensions"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_plain_tensor_is_named_with_what_to_do(kind: str) -> None:
    make, advice = REFUSED[kind]
    with pytest.raises(vc.WeightsError, match=rf"tensor 'layer\.w' .*{advice}") as caught:
        read_state_dict({"first": np.zeros(3), "layer.w": make()})
    assert "\n" not in str(caught.value)


def test_a_mask_that_hides_nothing_is_no_obstacle() -> None:
    assert read_state_dict({"w": np.ma.array([1.0, 2.0])}).arrays["w"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.complex32])
def test_lazy_views_are_what_they_mean(dtype: torch.dtype) -> None:
    x = torch.view_as_complex(torch.arange(12.0, dtype=torch.float64).reshape(2, 3, 2)).to(dtype)
    state = {"x": x, "conjugated": x.conj(), "again": x, "transposed": x.conj().T}
    if dtype != torch.complex32:
        state |= {"imaginary": x.imag, "negated": x.conj().imag}
    read = read_state_dict(state)
    assert read.aliases == {"again": "x"}
    values = x.to(torch.complex128).numpy()
    expected = {
        "x": values,
        "conjugated": values.conj(),
        "transposed": values.conj().T,
        "imaginary": values.imag,
        "negated": -values.imag,
    }
    for name, array in read.arrays.items():
        if array.dtype.names is not None:
            array = array["real"] + 1j * array["imag"]
        assert np.array_equal(array, expected[name]), name


class MadeWhenAsked(Mapping[str, Any]):
    """Gives tensors that nobody else holds: the next one may lie where the last one was."""

    def __iter__(self) -> Iterator[str]:
        return iter([f"t{i}" for i in range(50)])

    def __len__(self) -> int:
        return 50

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.full((100, 100), float(name[1:]))


def test_tensors_that_are_made_when_asked_for_are_not_taken_for_tied() -> None:
    read = read_state_dict(MadeWhenAsked())
    assert read.aliases == {}
    for name, array in read.arrays.items():
        assert (array == float(name[1:])).all()


def test_what_shares_only_a_part_is_not_tied() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    read = read_state_dict(
        {"x": x, "row": x[0], "t": x.T, "bits": x.view(torch.int32), "same": x.view(3, 4)}
    )
    assert read.aliases == {"same": "x"}
    assert read.arrays["t"].tobytes() == x.T.contiguous().numpy().tobytes()


def test_lazy_modules_are_refused_by_name() -> None:
    with pytest.raises(vc.WeightsError, match="'weight' is not initialized; run the module once"):
        read_state_dict(torch.nn.LazyLinear(3))
