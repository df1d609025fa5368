"""Operators, encoding in order of execution, and the search for an operating point."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from vaecomp_native.calibration.divergence import Measure  # noqa: E402
from vaecomp_native.calibration.maps import LinearMap  # noqa: E402
from vaecomp_native.calibration.model import CalibratedModel  # noqa: E402
from vaecomp_native.calibration.running import Batch, outputs  # noqa: E402
from vaecomp_native.codecs.quantized import encode_matrices  # noqa: E402
from vaecomp_native.compression.calibrated import calibrated_operators, usable_maps  # noqa: E402
from vaecomp_native.compression.encoder import Encoder, Encoding  # noqa: E402
from vaecomp_native.compression.fit import fitting  # noqa: E402
from vaecomp_native.compression.operators import (  # noqa: E402
    VECTOR_PRECISION,
    Operator,
    cost_of_all,
    data_free_operator,
)
from vaecomp_native.compression.options import QUANTIZERS  # noqa: E402
from vaecomp_native.compression.rate_control import RateControl  # noqa: E402
from vaecomp_native.compression.search import (  # noqa: E402
    OCTAVE_STEPS,
    best_encoding,
    equalize,
    grouped,
    largest_keeping,
    put_into_model,
    rate_weight_at,
    rate_weight_for_bits,
    typical_cost,
)
from vaecomp_native.compression.trial_model import TrialModel  # noqa: E402
from vaecomp_native.errors import CalibrationError, UnreachableError  # noqa: E402
from vaecomp_native.io import scratch as scratch_module  # noqa: E402
from vaecomp_native.io.scratch import Scratch  # noqa: E402
from vaecomp_native.progress import silent  # noqa: E402
from vaecomp_native.quantization.feedback import DAMPING, Curvature, OutOfRangeError  # noqa: E402
from vaecomp_native.state_dict import read_state_dict  # noqa: E402

MSE = Measure("mse")

from .samples import generators  # noqa: E402

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def rate_weight_at_bits(encoder: Encoder, target: float) -> float:
    """The rate weight at which the encoder's tensors have about so many ideal bits."""
    return rate_weight_for_bits(encoder, target, lambda at: encoder.encode(at).ideal_bits)[0]


class Sum(nn.Module):
    """Two layers side by side, the second one's outputs weighted."""

    def __init__(self, weight: float, width: int = 24) -> None:
        super().__init__()
        self.a = nn.Linear(width, width)
        self.b = nn.Linear(width, width)
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.a(x) + self.weight * self.b(x)
        return total


class Recurrent(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.cell(x)[0]
        return output


def deep(width: int = 24) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 6)
    )


def batches(count: int = 8, width: int = 24, size: int = 64) -> list[torch.Tensor]:
    """Correlated inputs, all from one distribution."""
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(width)) / width**0.5
    return [torch.randn(size, width) @ mixing + 0.3 for _ in range(count)]


def arrays_of(module: nn.Module) -> dict[str, Array]:
    return {name: array.copy() for name, array in read_state_dict(module).arrays.items()}


def calibrated_encoder(
    module: nn.Module,
    data: Sequence[Batch],
    held_out: Sequence[Batch],
    *,
    measure: Measure = MSE,
    quantizer: str = "feedback",
) -> Encoder:
    arrays = arrays_of(module)
    maps = usable_maps(module, data[0], arrays)
    operators = calibrated_operators(module, data, maps, arrays, measure, Scratch(), silent)
    model = TrialModel(module, arrays, data, held_out, measure)
    return Encoder(operators, arrays, quantizer, 1, model, {one.name: one for one in maps})


def divergence(encoder: Encoder, rate_weight: float, *, correct: bool = False) -> float:
    assert encoder.model is not None
    put_into_model(encoder, encoded(encoder, rate_weight, correct=correct))
    return encoder.model.divergence()


def encoded(encoder: Encoder, rate_weight: float, *, correct: bool) -> Encoding:
    if not correct:
        return encoder.encode(rate_weight)
    return encoder.encode_corrected(rate_weight, [DAMPING])[0]


def same_bits(left: Mapping[str, Array], right: Mapping[str, Array]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


class TestTrialModel:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_weights_come_back_to_the_last_bit_after_an_error(self, dtype: torch.dtype) -> None:
        module = deep(8).to(dtype)
        before = arrays_of(module)
        model = TrialModel(module, arrays_of(module), [], [], None)
        with pytest.raises(KeyError), model.restored():
            model.replace({name: array * 0.5 for name, array in before.items()})
            assert not same_bits(arrays_of(module), before)
            raise KeyError
        assert same_bits(arrays_of(module), before)

    def test_the_module_keeps_its_tensors_and_its_mode(self) -> None:
        module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
        tensors = module.state_dict(keep_vars=True)
        pointers = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        data = batches(2, 4)
        with TrialModel(module, arrays_of(module), data, data, MSE).restored() as model:
            model.replace({"0.weight": np.zeros((4, 4), np.float32)})
            model.divergence()
        after = module.state_dict(keep_vars=True)
        assert all(after[name] is tensor for name, tensor in tensors.items())
        assert {name: tensor.data_ptr() for name, tensor in after.items()} == pointers
        assert all(part.training for part in module.modules())

    @pytest.mark.parametrize("kind", ["kl", "mse"])
    def test_divergence_is_zero_for_the_original_and_grows(self, kind: str) -> None:
        module, data = deep(), batches()
        arrays = arrays_of(module)
        model = TrialModel(module, arrays, data, data, Measure(kind))
        assert model.divergence() == pytest.approx(0, abs=1e-6)
        found = []
        for shift in (0.01, 0.1, 1.0):
            model.replace({name: array * (1 + shift) for name, array in arrays.items()})
            found.append(model.divergence())
        assert found == sorted(found) and found[0] > 0

    def test_divergences_by_hand(self) -> None:
        module = nn.Linear(1, 2)
        data = [torch.tensor([[0.0], [1.0], [-2.0]])]
        arrays = {
            "weight": np.array([[1.0], [-1.0]], np.float32),
            "bias": np.zeros(2, np.float32),
        }
        module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        trials = {
            kind: TrialModel(module, arrays, data, data, Measure(kind)) for kind in ("kl", "mse")
        }
        before = next(outputs(module, data))[""][0].double()
        trials["kl"].replace({"bias": np.array([0.5, 0], np.float32)})
        after = next(outputs(module, data))[""][0].double()
        logs = before.log_softmax(-1), after.log_softmax(-1)
        expected = float((logs[0].exp() * (logs[0] - logs[1])).sum(-1).mean())
        assert trials["kl"].divergence() == pytest.approx(expected, rel=1e-4)
        # Half of the outputs are off by 0.5.
        # Their variance is that of 0, 1, -2 and their negatives.
        assert trials["mse"].divergence() == pytest.approx(0.125 / (10 / 6), rel=1e-5)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (9, 5)),
    "without bias": (lambda: nn.Linear(5, 3, bias=False), (9, 5)),
    "convolution": (lambda: nn.Conv2d(2, 4, 3, padding=1), (2, 2, 6, 5)),
    "grouped": (lambda: nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
    "lstm": (lambda: Recurrent(nn.LSTM(3, 4, num_layers=2)), (5, 2, 3)),
    "gru": (lambda: Recurrent(nn.GRU(3, 4, bidirectional=True)), (5, 2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
class TestOperatorsOfLayers:
    def operators(self, name: str) -> tuple[list[Operator], dict[str, Array], Sequence[LinearMap]]:
        make, shape = LAYERS[name]
        module = make()
        data = [torch.randn(shape) for _ in range(3)]
        arrays = arrays_of(module)
        maps = usable_maps(module, data[0], arrays)
        return (
            calibrated_operators(module, data, maps, arrays, MSE, Scratch(), silent),
            arrays,
            maps,
        )

    def test_their_matrices_are_those_of_the_maps(self, name: str) -> None:
        operators, arrays, maps = self.operators(name)
        state = {key: torch.from_numpy(array) for key, array in arrays.items()}
        assert [operator.name for operator in operators] == [one.name for one in maps]
        for operator, one in zip(operators, maps, strict=True):
            np.testing.assert_array_equal(operator.matrix(arrays), one.matrix(state).numpy())
            assert operator.elements == one.rows * one.columns
        assert {key for operator in operators for key in operator.tensors} == set(arrays)

    @pytest.mark.parametrize("quantizer", QUANTIZERS)
    def test_tensors_come_back_in_their_places(self, name: str, quantizer: str) -> None:
        operators, arrays, _ = self.operators(name)
        for operator in operators:
            matrix = operator.matrix(arrays)
            weight = 1e-5 * cost_of_all(operator, arrays)
            parts = operator.quantize(matrix, weight, quantizer, 1)
            assert set(parts) == set(operator.tensors)
            back = Encoder(operators, arrays, quantizer, 1).decoded(parts)
            for key, array in back.items():
                assert array.shape == arrays[key].shape and array.dtype == arrays[key].dtype
            error = operator.matrix(back) - matrix
            assert np.square(error).mean() < 0.02 * np.square(matrix).mean()
            # Of the biases the first has it all.
            for key in operator.biases[1:]:
                assert not back[key].any()


class TestCalibratedOperators:
    def test_what_no_map_has_gets_an_operator(self) -> None:
        module = nn.Sequential(nn.Embedding(7, 6), nn.LayerNorm(6), nn.Linear(6, 4))
        with torch.no_grad():
            module[1].bias.copy_(torch.linspace(-1, 1, 6))
        data = [torch.arange(7).repeat(3)]
        arrays = arrays_of(module)
        maps = usable_maps(module, data[0], arrays)
        found = calibrated_operators(module, data, maps, arrays, MSE, Scratch(), silent)
        by_name = {operator.name: operator for operator in found}
        # Gains of one sign are delicate: nobody quantizes them.
        assert set(by_name) == {"2", "0.weight", "1.bias"}
        assert by_name["0.weight"].row_weights.shape == (7,)
        assert by_name["1.bias"].row_weights.shape == (1,)
        assert all(operator.calibrated for operator in found)

    def test_what_is_never_used_is_as_sensitive_as_the_others(self) -> None:
        module = Sum(1.0)
        module.unused = nn.Linear(24, 24)
        data, arrays = batches(), arrays_of(module)
        maps = usable_maps(module, data[0], arrays)
        with pytest.warns(UserWarning, match=r"never uses unused"):
            found = calibrated_operators(module, data, maps, arrays, MSE, Scratch(), silent)
        by_name = {operator.name: operator for operator in found}
        free = by_name["unused.weight"]
        assert not free.calibrated
        used = [cost_of_all(by_name[name], arrays) for name in ("a", "b")]
        assert cost_of_all(free, arrays) == pytest.approx((used[0] * used[1]) ** 0.5, rel=0.01)

    @pytest.mark.parametrize("blind", ["inputs", "outputs"])
    def test_maps_that_see_or_move_nothing(self, blind: str) -> None:
        """Zeros go in, or nothing depends on what comes out."""
        module = (
            Sum(0.0) if blind == "outputs" else nn.Sequential(nn.Linear(24, 24), nn.Linear(24, 24))
        )
        if blind == "inputs":
            with torch.no_grad():
                module[0].weight.zero_()
                module[0].bias.zero_()
        data, arrays = batches(), arrays_of(module)
        arrays = {name: array for name, array in arrays.items() if array.any()}
        maps = usable_maps(module, data[0], arrays)
        with pytest.warns(UserWarning, match="never uses"):
            operators = calibrated_operators(module, data, maps, arrays, MSE, Scratch(), silent)
        encoder = Encoder(operators, arrays, "feedback", 1)
        for name, array in encoder.decoded(encoder.encode(1e-3).matrices).items():
            assert np.isfinite(array).all() and array.any(), name

    def test_maps_need_all_their_tensors(self) -> None:
        module, data = deep(), batches()
        arrays = arrays_of(module)
        del arrays["2.bias"]
        assert [one.name for one in usable_maps(module, data[0], arrays)] == ["0", "4"]


class TestDataFree:
    @given(rng=generators, octaves=st.integers(-30, 30), rank=st.sampled_from([1, 2, 4]))
    def test_symbols_do_not_depend_on_scale(
        self, rng: np.random.Generator, octaves: int, rank: int
    ) -> None:
        array = rng.standard_normal((12, 5, 2, 2)[:rank]).astype(np.float32)
        scaled = np.ldexp(array, octaves)
        found = [
            data_free_operator("x", one).quantize(
                data_free_operator("x", one).matrix({"x": one}), 0.02, "feedback", 1
            )["x"]
            for one in (array, scaled)
        ]
        np.testing.assert_array_equal(found[0].symbols, found[1].symbols)
        assert found[1].step == pytest.approx(np.ldexp(found[0].step, octaves), rel=1e-2)

    def test_errors_count_relative_to_rows(self) -> None:
        array = np.random.default_rng(0).standard_normal((4, 1000)).astype(np.float32)
        array *= np.array([[1], [2], [4], [8]], np.float32)
        operator = data_free_operator("x", array)
        assert operator.row_weights == pytest.approx([1, 1 / 4, 1 / 16, 1 / 64], rel=0.2)
        assert not operator.calibrated
        assert cost_of_all(operator, {"x": array}) == pytest.approx(1)

    def test_vectors_are_finer(self) -> None:
        array = np.random.default_rng(0).standard_normal(64).astype(np.float32)
        costs = [
            cost_of_all(data_free_operator("x", one), {"x": one}) for one in (array, array[None])
        ]
        assert costs[0] == pytest.approx(VECTOR_PRECISION * costs[1])

    def test_rows_of_zeros_stay(self) -> None:
        array = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
        array[::2] = 0
        for one in (array, np.zeros((3, 4), np.float32)):
            operator = data_free_operator("x", one)
            matrix = operator.quantize(operator.matrix({"x": one}), 0.01, "feedback", 1)["x"]
            assert not matrix.values()[~one.any(1)].any()
            assert np.square(matrix.values() - one).mean() <= 0.02 * np.square(one).mean()

    @pytest.mark.parametrize("quantizer", QUANTIZERS)
    def test_every_quantizer_meets_a_rate(self, quantizer: str) -> None:
        arrays = {
            "a": np.random.default_rng(0).standard_normal((80, 90)).astype(np.float32),
            "b": 30 * np.random.default_rng(1).standard_normal((50, 60)).astype(np.float32),
        }
        with fitting(arrays, quantizer, None, 1, silent) as fitter:
            fit = fitter.at_rate_weight(0.02)
        assert fit.rate_weight == pytest.approx(0.02)
        assert 2.3 < fit.encoding.ideal_bits / (80 * 90 + 50 * 60) < 4.3
        for name, array in fitter.encoder.decoded(fit.encoding.matrices).items():
            assert np.square(array - arrays[name]).mean() < 0.03 * np.square(arrays[name]).mean()

    def test_delicate_tensors_are_left_out(self) -> None:
        arrays = {
            "gain": np.linspace(1, 2, 9, dtype=np.float32),
            "one": np.ones(1, np.float32),
            "weight": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        }
        with fitting(arrays, "feedback", None, 1, silent) as fitter:
            assert set(fitter.at_rate_weight(0.02).encoding.matrices) == {"weight"}


class TestEncoder:
    def test_tensors_out_of_range_are_told(self) -> None:
        arrays = {
            "far": np.array([[1e-3] * 20000 + [1e9]], np.float32),
            "near": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        }
        flat = [
            dataclasses.replace(data_free_operator(name, array), row_weights=np.ones(len(array)))
            for name, array in arrays.items()
        ]
        encoding = Encoder(flat, arrays, "feedback", 1).encode(1e-3)
        assert encoding.unquantizable == {"far"} and set(encoding.matrices) == {"near"}

    def test_the_module_holds_what_was_encoded(self) -> None:
        module, data = deep(), batches()
        encoder = calibrated_encoder(module, data, data)
        encoding = best_encoding(encoder, 1e-3 * typical_cost(encoder), silent)
        expected = {**encoder.arrays, **encoder.decoded(encoding.matrices)}
        assert same_bits(arrays_of(module), expected)

    def test_of_what_is_predicted_only_the_rest_takes_bits(self) -> None:
        module, data = deep(), batches()
        encoder = calibrated_encoder(module, data, data)
        rate_weight, rng = 1e-3 * typical_cost(encoder), np.random.default_rng(0)
        near = {
            name: array
            + np.float32(0.1 * array.std()) * rng.standard_normal(array.shape, np.float32)
            for name, array in encoder.arrays.items()
        }
        alone = encoded(encoder, rate_weight, correct=True)
        beside = dataclasses.replace(encoder, predicted=near)
        rest = encoded(beside, rate_weight, correct=True)
        assert rest.ideal_bits < 0.6 * alone.ideal_bits
        found = beside.decoded(rest.matrices)
        for name, matrix in rest.matrices.items():
            shape = near[name].shape
            np.testing.assert_array_equal(found[name], near[name] + matrix.values().reshape(shape))
        put_into_model(beside, rest)
        assert same_bits(arrays_of(module), {**encoder.arrays, **found})
        exact = dataclasses.replace(encoder, predicted=encoder.arrays).encode(rate_weight)
        assert not any(matrix.symbols.any() for matrix in exact.matrices.values())

    def test_encoding_twice_gives_the_same(self) -> None:
        module, data = deep(), batches()
        encoder = calibrated_encoder(module, data, data)
        weight = 1e-2 * typical_cost(encoder)
        found = [encoded(encoder, weight, correct=True).matrices for _ in range(2)]
        for name in found[0]:
            np.testing.assert_array_equal(found[0][name].symbols, found[1][name].symbols)

    def test_corrections_lower_the_error_of_the_output(self) -> None:
        """On inputs that no correction has seen, at the same rate weights."""
        ratios = []
        for seed in range(6):
            torch.manual_seed(seed)
            module, data = deep(), batches(24)
            encoder = calibrated_encoder(module, data[:16], data[16:])
            unit = typical_cost(encoder)
            for relative in (0.02, 0.1, 0.3):
                plain = divergence(encoder, relative * unit)
                ratios.append(divergence(encoder, relative * unit, correct=True) / plain)
        assert np.exp(np.mean(np.log(ratios))) < 0.5

    def test_recurrent_layers_are_corrected_half(self) -> None:
        module = Recurrent(nn.LSTM(6, 8))
        data = [torch.randn(7, 16, 6) for _ in range(8)]
        encoder = calibrated_encoder(module, data[:6], data[6:])
        unit = typical_cost(encoder)
        changes = [divergence(encoder, 0.05 * unit, correct=one) for one in (False, True)]
        assert changes[1] < 1.1 * changes[0]

    def test_a_first_layer_needs_no_correction(self) -> None:
        """Its inputs are the original ones: the refitted matrix is the matrix."""
        module, data = nn.Linear(24, 5), batches()
        encoder = calibrated_encoder(module, data, data)
        weight = 1e-3 * typical_cost(encoder)
        plain, corrected = (encoded(encoder, weight, correct=one).matrices for one in (False, True))
        steps = plain["weight"].step
        gap = np.abs(plain["weight"].values() - corrected["weight"].values())
        assert np.quantile(gap, 0.9) <= 3 * steps


class TestRateControl:
    @given(
        st.lists(st.tuples(st.integers(100, 10_000), st.floats(0.9, 1.1)), min_size=8, max_size=40)
    )
    def test_later_operators_make_up_for_earlier_ones(
        self, operators: list[tuple[int, float]]
    ) -> None:
        """Each takes some percent more or less bits than expected, 4 bits an element."""
        elements = {str(n): size for n, (size, _) in enumerate(operators)}
        expected = {name: 4.0 * size for name, size in elements.items()}
        control = RateControl(expected, elements)
        plain = taken = 0.0
        for name, (size, share) in zip(elements, operators, strict=True):
            bits = size * (4 * share - 0.5 * np.log2(control.factor))
            control.add(name, bits)
            plain, taken = plain + 4 * share * size, taken + bits
        goal = sum(expected.values())
        largest = max(elements.values())
        # The last operator's own excess, and what half an octave cannot make up for, stay.
        assert abs(taken - goal) <= max(0.4 * largest + 1, abs(plain - goal))
        others = RateControl({}, elements)
        others.add("0", 1e9)
        assert others.factor == 1


class TestGrouped:
    def test_few_operators_are_groups_of_their_own(self) -> None:
        assert grouped(["a", "b"]) == [[0], [1]]

    def test_many_are_grouped_by_what_their_names_share(self) -> None:
        names = [f"layers.{n}.{part}" for n in range(12) for part in ("up", "down")] + ["head"]
        assert grouped(names) == [[*range(0, 24, 2)], [*range(1, 24, 2)], [24]]

    @given(st.lists(st.text("ab1", max_size=6), max_size=80))
    def test_groups_are_few_and_have_everything_once(self, names: list[str]) -> None:
        groups = grouped(names)
        assert len(groups) <= 16
        assert sorted(n for group in groups for n in group) == list(range(len(names)))


class TestEqualize:
    def test_multipliers_move_to_where_bits_buy_more(self) -> None:
        """One layer is said to matter 16 times as much as it does, or as little.

        What a bit buys is measured with noise: the mean over several networks decides.
        """
        for factor in (16.0, 1 / 16):
            ratios = [self.claimed(seed, factor) for seed in range(4)]
            ratio = np.exp(np.mean(np.log(ratios)))
            assert ratio < 0.3 if factor > 1 else ratio > 2

    def claimed(self, seed: int, factor: float) -> float:
        """The second layer's multiplier over the first one's, after it has claimed so much more."""
        torch.manual_seed(seed)
        module, data = Sum(1.0), batches(72)
        encoder = calibrated_encoder(module, data[:8], data[8:])
        first, second = encoder.operators
        claimed = dataclasses.replace(second, row_weights=factor * second.row_weights)
        encoder = dataclasses.replace(encoder, operators=[first, claimed])
        target = 4.0 * sum(operator.elements for operator in encoder.operators)
        found = equalize(encoder, rate_weight_at_bits(encoder, target), silent).operators
        return found[1].multiplier / found[0].multiplier

    @pytest.mark.parametrize(("factor", "most"), [(16.0, 0.5), (1.0, 1.15)])
    def test_equal_bits_then_do_less_harm(self, factor: float, most: float) -> None:
        """Sensitivities are wrong by a factor; where they are right there is little to win."""
        ratios = []
        for seed in range(4):
            encoder = self.misled(seed, factor)
            target = 4.0 * sum(operator.elements for operator in encoder.operators)
            before = divergence(encoder, rate_weight_at_bits(encoder, target))
            better = equalize(encoder, rate_weight_at_bits(encoder, target), silent)
            ratios.append(divergence(better, rate_weight_at_bits(better, target)) / before)
        assert np.exp(np.mean(np.log(ratios))) < most

    def misled(self, seed: int, factor: float) -> Encoder:
        """Of a lively network, in which one layer claims too much and one too little."""
        torch.manual_seed(seed)
        module, data = deep(48), batches(12, 48)
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=1.5 / 48**0.5)
        encoder = calibrated_encoder(module, data[:8], data[8:])
        wrong = np.random.default_rng(seed).permutation([factor, 1.0, 1 / factor])
        operators = [
            dataclasses.replace(operator, row_weights=one * operator.row_weights)
            for operator, one in zip(encoder.operators, wrong, strict=True)
        ]
        return dataclasses.replace(encoder, operators=operators)

    def test_trials_that_fail_leave_the_module_as_it_was(self) -> None:
        """Only the coarse trial can quantize one operator.

        The other operators are measured beside its original.
        """
        module, data = Sum(1.0), batches()
        encoder = calibrated_encoder(module, data, data)
        original = encoder.operators[0].quantize
        limit = 0.05 * typical_cost(encoder)

        class Coarse(Operator):
            def quantize(self, matrix: Any, rate_weight: float, *rest: Any) -> Any:
                if rate_weight < 1.5 * limit:
                    raise OutOfRangeError
                return original(matrix, rate_weight, *rest)

        first = encoder.operators[0]
        fields = {one.name: getattr(first, one.name) for one in dataclasses.fields(first)}
        encoder = dataclasses.replace(encoder, operators=[Coarse(**fields), encoder.operators[1]])
        equalize(encoder, limit, silent)
        now = arrays_of(module)
        for name in first.tensors:
            np.testing.assert_array_equal(now[name], encoder.arrays[name])


class Stub(Encoder):
    """Records rate weights instead of encoding."""

    def encode(self, rate_weight: float, **_: Any) -> Encoding:
        self.tried.append(rate_weight)  # type: ignore[attr-defined]
        return Encoding({}, frozenset())


@pytest.fixture
def stub() -> Encoder:
    arrays = {"x": np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)}
    encoder = Stub([data_free_operator("x", arrays["x"])], arrays, "feedback", 1)
    object.__setattr__(encoder, "tried", [])
    return encoder


class TestSearch:
    @pytest.mark.parametrize("bits", [0.5, 1.0, 2.5, 5.0, 8.0])
    def test_rate_weights_for_bits(self, bits: float) -> None:
        rng = np.random.default_rng(1)
        arrays = {
            "a": rng.standard_normal((90, 100)).astype(np.float32),
            "b": rng.laplace(size=(60, 80)).astype(np.float32) * 7,
        }
        with fitting(arrays, "feedback", None, 1, silent) as fitter:
            target = bits * sum(array.size for array in arrays.values())
            fit = fitter.at_bits(target)
        size = 8 * len(encode_matrices(list(fit.encoding.matrices.values())))
        # In a file this small, tables and states of the coder count.
        assert fit.bits == pytest.approx(target, rel=0.01) == pytest.approx(size, rel=0.03)

    def test_bits_of_gaussians_at_high_rates(self) -> None:
        """A place to start from: it is meant to be near, not to hit."""
        array = np.random.default_rng(2).standard_normal((300, 300)).astype(np.float32)
        encoder = Encoder([data_free_operator("x", array)], {"x": array}, "feedback", 1)
        for bits in (3.0, 5.0):
            encoding = encoder.encode(rate_weight_at(typical_cost(encoder), bits))
            assert encoding.ideal_bits / array.size == pytest.approx(bits, abs=0.5)

    def test_the_unit_is_the_cost_of_losing_a_weight(self) -> None:
        arrays = {
            name: np.random.default_rng(3).standard_normal((40, size)).astype(np.float32)
            for name, size in (("a", 10), ("b", 30))
        }
        operators = [
            dataclasses.replace(data_free_operator(name, array), row_weights=np.full(40, cost))
            for (name, array), cost in zip(arrays.items(), (1.0, 16.0), strict=True)
        ]
        unit = typical_cost(Encoder(operators, arrays, "feedback", 1))
        assert unit == pytest.approx(16 ** (3 / 4), rel=0.2)

    @given(threshold=st.floats(-12, 8), start=st.floats(-14, 6))
    def test_the_threshold_of_a_monotone_score_is_found(
        self, threshold: float, start: float
    ) -> None:
        arrays = {"x": np.ones((4, 5), np.float32)}
        encoder = Stub([data_free_operator("x", arrays["x"])], arrays, "feedback", 1)
        tried: list[float] = []
        object.__setattr__(encoder, "tried", tried)
        found, best = largest_keeping(
            encoder,
            lambda: -tried[-1],
            -(2.0**threshold),
            2.0**start,
            correct=False,
            progress=silent,
        )
        assert found is not None and best == -min(tried)
        assert threshold - OCTAVE_STEPS[-1] - 1e-9 < np.log2(found) < threshold + 1e-9

    def test_nothing_keeps_the_score(self, stub: Encoder) -> None:
        scores = iter(np.concatenate([[0.1, 0.7], np.full(50, 0.3)]))
        found = largest_keeping(
            stub, lambda: float(next(scores)), 0.9, 1.0, correct=False, progress=silent
        )
        assert found == (None, 0.7)

    def test_everything_keeps_the_score(self, stub: Encoder) -> None:
        found, best = largest_keeping(stub, lambda: 1.0, 0.9, 1e-3, correct=False, progress=silent)
        assert found is not None and 1e3 < found < 1e9 and best == 1.0


class TestFit:
    def test_modules_are_restored_from_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        module, data = deep(), batches()
        in_memory = self.encode_and_restore(module, data)
        monkeypatch.setattr(scratch_module, "ROOM", 0)
        assert self.encode_and_restore(module, data) == in_memory
        assert not list(tmp_path.iterdir())

    def encode_and_restore(self, module: nn.Module, data: list[Batch]) -> dict[str, bytes]:
        """The symbols of an encoding, for which the module was changed and put back."""
        before = arrays_of(module)
        # These share their memory with the module, as they do in `compress`.
        arrays = dict(read_state_dict(module).arrays)
        calibration = CalibratedModel(module, data, None, Measure("kl"))
        with fitting(arrays, "feedback", calibration, 1, silent) as fitter:
            fit = fitter.at_rate_weight(0.1)
            assert not same_bits(arrays_of(module), before)
        assert same_bits(arrays_of(module), before)
        return {name: one.symbols.tobytes() for name, one in fit.encoding.matrices.items()}

    def calibration(
        self, evaluate: Callable[[nn.Module], float] | None = None
    ) -> tuple[nn.Module, CalibratedModel]:
        module = deep()
        return module, CalibratedModel(module, batches(), evaluate, MSE)

    def agreement(self, module: nn.Module) -> Callable[[nn.Module], float]:
        """Minus the error of outputs of a module, relative to those that it gives now."""
        data = batches(2)
        before = torch.cat([one[""][0] for one in outputs(module, data)])

        def score(now: nn.Module) -> float:
            error = torch.cat([one[""][0] for one in outputs(now, data)]) - before
            return -float(error.square().mean() / before.square().mean())

        return score

    @pytest.mark.parametrize("given_batches", [True, False])
    def test_a_score_is_kept(self, given_batches: bool) -> None:
        module, calibration = self.calibration()
        calibration = dataclasses.replace(
            calibration,
            evaluate=self.agreement(module),
            batches=calibration.batches if given_batches else [],
        )
        before = arrays_of(module)
        bits = []
        with fitting(before, "feedback", calibration, 1, silent) as fitter:
            assert fitter.score_now() == 0
            for loss in (0.001, 0.03):
                fit = fitter.keeping_score(-loss)
                # The module holds what the fit decodes to.
                assert fitter.score_now() >= -loss
                model = fitter.encoder.model
                assert model is not None
                model.replace(before)
                model.replace(fitter.encoder.decoded(fit.encoding.matrices))
                assert fitter.score_now() >= -loss
                bits.append(fit.encoding.ideal_bits)
        assert bits[1] < 0.8 * bits[0]
        assert same_bits(arrays_of(module), before)

    def test_a_score_out_of_reach(self) -> None:
        module, calibration = self.calibration(lambda _: 0.25)
        before = arrays_of(module)
        with (
            pytest.raises(UnreachableError, match=r"score of 0\.5.*0\.25"),
            fitting(before, "feedback", calibration, 1, silent) as fitter,
        ):
            fitter.keeping_score(0.5)
        assert same_bits(arrays_of(module), before)

    @pytest.mark.parametrize(
        ("evaluate", "message"),
        [
            (lambda _: float("nan"), "returned nan"),
            (lambda _: 1 / 0, "ZeroDivisionError"),
            (lambda _: "much", "ValueError"),
        ],
    )
    def test_scores_that_fail(self, evaluate: Callable[[Any], Any], message: str) -> None:
        module, calibration = self.calibration(evaluate)
        before = arrays_of(module)
        with (
            pytest.raises(CalibrationError, match=message),
            fitting(before, "feedback", calibration, 1, silent) as fitter,
        ):
            fitter.keeping_score(0.5)
        assert same_bits(arrays_of(module), before)

    def test_more_calibrated_bits_do_less_harm(self) -> None:
        module, calibration = self.calibration()
        score = self.agreement(module)
        arrays = arrays_of(module)
        size = sum(array.size for array in arrays.values())
        found = []
        with fitting(arrays, "feedback", calibration, 1, silent) as fitter:
            for bits in (1.5, 3.0, 6.0):
                fit = fitter.at_bits(bits * size)
                assert fit.encoding.ideal_bits == pytest.approx(bits * size, rel=0.35)
                found.append(score(module))
        assert found == sorted(found) and found[-1] > 0.1 * found[0]

    def test_calibration_beats_none_at_equal_bits(self) -> None:
        scores = []
        for seed in range(6):
            torch.manual_seed(seed)
            module, calibration = self.calibration()
            arrays, score = arrays_of(module), self.agreement(module)
            size = sum(array.size for array in arrays.values())
            errors = []
            for one in (calibration, dataclasses.replace(calibration, batches=[])):
                copied = copy.deepcopy(module)
                one = dataclasses.replace(one, module=copied)
                with fitting(arrays, "feedback", one, 1, silent) as fitter:
                    fitter.at_bits(3 * size)
                    errors.append(-score(copied))
            scores.append(errors[0] / errors[1])
        assert np.exp(np.mean(np.log(scores))) < 0.3

    @pytest.mark.parametrize("count", range(1, 10))
    def test_held_out_batches(self, count: int) -> None:
        model = CalibratedModel(nn.Identity(), range(count), None)
        fitted, held_out = model.fitted, model.held_out
        assert len(fitted) >= 1 and len(held_out) >= 1
        if count > 1:
            assert [*fitted, *held_out] == list(range(count))
            assert len(held_out) <= max(1, count // 4)


def test_a_curvature_is_shared_by_the_tensors_of_an_operator() -> None:
    """Side by side in one matrix: their columns take over each other's errors."""
    module = Recurrent(nn.LSTM(3, 4))
    data = [torch.randn(6, 5, 3)]
    arrays = arrays_of(module)
    maps = usable_maps(module, data[0], arrays)
    (operator,) = calibrated_operators(module, data, maps, arrays, MSE, Scratch(), silent)
    assert operator.weights == ("cell.weight_ih_l0", "cell.weight_hh_l0")
    assert operator.widths == (3, 4) and len(operator.biases) == 2
    assert isinstance(operator.curvature, Curvature) and len(operator.curvature.order) == 7
