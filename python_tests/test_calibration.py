"""Linear maps of a module, their inputs, and the sensitivities measured on calibration batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import rnn as packing  # noqa: E402

import vaecomp_native as vc  # noqa: E402
from vaecomp_native.calibration import moments as moments_module  # noqa: E402
from vaecomp_native.calibration import sensitivity as sensitivity_module  # noqa: E402
from vaecomp_native.calibration.interception import find_linear_maps, hooked  # noqa: E402
from vaecomp_native.calibration.lockstep import lockstep  # noqa: E402
from vaecomp_native.calibration.maps import LinearMap  # noqa: E402
from vaecomp_native.calibration.running import outputs  # noqa: E402
from vaecomp_native.calibration.running import run as all_outputs  # noqa: E402

from .measured import diagonal_sensitivity, sensitivities  # noqa: E402


def run(module: nn.Module, batch: Any) -> torch.Tensor:
    """The first tensor that a module gives."""
    return next(iter(all_outputs(module, batch).values()))[0]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Recurrent(nn.Module):
    """A recurrent module that takes inputs and maybe first states; gives output and states."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> torch.Tensor:
        first = states if len(states) > 1 else states[0] if states else None
        output, last = self.cell(x, first)
        last = last if isinstance(last, tuple) else (last,)
        return torch.cat([output.flatten(), *(part.flatten() for part in last)])


class Attention(nn.Module):
    """Self-attention, or attention to something else."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, **options)

    def forward(
        self, x: torch.Tensor, other: torch.Tensor | None = None, **options: Any
    ) -> torch.Tensor:
        other = x if other is None else other
        output: torch.Tensor = self.attention(x, other, other, **options)[0]
        return output


ALL = 1 << 40
"""More positions than there are."""


def shown(
    module: nn.Module, batch: Any, maps: Sequence[LinearMap] | None = None
) -> tuple[torch.Tensor, list[tuple[LinearMap, torch.Tensor, torch.Tensor]]]:
    """The output of a hooked run, and what the callback got; the gradients are switched on."""
    maps = find_linear_maps(module, batch) if maps is None else maps
    parts: list[tuple[LinearMap, torch.Tensor, torch.Tensor]] = []
    with hooked(module, maps, lambda m, x, y: parts.append((m, x(ALL, 0), y))):
        output = run(module, batch)
    return output, parts


def names(maps: Sequence[LinearMap]) -> list[str]:
    return [linear_map.name for linear_map in maps]


def assert_maps_explain(module: nn.Module, batch: Any) -> None:
    """Whatever the layer: equal results, y = W x + b, and the gradients of all parameters of maps.

    For y = W x + b at every position, the gradient of [W b] is the sum of (gradient of y) [x 1]^T.
    """
    module.eval()
    before = run(module, batch)
    weights = torch.randn_like(before)
    output, parts = shown(module, batch)
    torch.testing.assert_close(output, before)
    assert parts
    state = module.state_dict()
    gradients = torch.autograd.grad((output * weights).sum(), [y for _, _, y in parts])
    totals = {m: torch.zeros(m.rows, m.width) for m, _, _ in parts}
    for (m, inputs, result), gradient in zip(parts, gradients, strict=True):
        assert inputs.dtype == torch.float32 and not inputs.requires_grad
        x = torch.cat([inputs, torch.ones(len(inputs), 1)], 1) if m.biases else inputs
        x = x.unflatten(0, (-1, m.groups))
        matrix = m.matrix(state).unflatten(0, (m.groups, -1))
        expected = torch.einsum("pgc,grc->pgr", x, matrix)
        torch.testing.assert_close(result.detach().reshape(expected.shape), expected)
        of_groups = gradient.reshape(expected.shape)
        totals[m] += torch.einsum("pgr,pgc->grc", of_groups, x).flatten(0, 1)

    module.zero_grad()
    (run(module, batch) * weights).sum().backward()
    parameters = dict(module.named_parameters())
    for m, total in totals.items():
        found = m.split(total)
        assert set(found) == {*m.weights, *m.biases}
        for name in m.weights + m.biases[:1]:
            torch.testing.assert_close(
                found[name], parameters[name].grad, rtol=1e-4, atol=1e-5, msg=name
            )


CONVOLUTIONS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Conv1d(3, 4, 3), (2, 3, 9)),
    (lambda: nn.Conv1d(4, 6, 4, padding="same", dilation=3, groups=2), (2, 4, 11)),
    (lambda: nn.Conv1d(2, 3, 2, padding="valid", bias=False), (5, 2, 3)),
    (lambda: nn.Conv1d(2, 3, 3), (2, 7)),
    (lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 5)),
    (lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), (3, 4, 6, 5)),
    (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), (2, 2, 5, 4)),
    (lambda: nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"), (2, 2, 5, 4)),
    (lambda: nn.Conv2d(2, 4, 1, stride=2), (2, 2, 5, 4)),
    (lambda: nn.Conv3d(2, 4, 2, stride=(1, 2, 1), padding=1, groups=2), (2, 2, 3, 4, 3)),
]

RECURRENT: list[tuple[Callable[[], nn.Module], bool]] = [
    (lambda: nn.RNN(3, 4), False),
    (lambda: nn.RNN(3, 4, nonlinearity="relu", num_layers=2, bidirectional=True), False),
    (lambda: nn.LSTM(3, 4, num_layers=2, batch_first=True), True),
    (lambda: nn.LSTM(3, 4, bidirectional=True, bias=False), True),
    (lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True), False),
    (lambda: nn.GRU(3, 4, bias=False), False),
]


class TestEveryLayerType:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5)])
    def test_linear(self, shape: tuple[int, ...], bias: bool) -> None:
        assert_maps_explain(nn.Linear(5, 3, bias=bias), torch.randn(shape))

    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
    @pytest.mark.parametrize(("make", "shape"), CONVOLUTIONS)
    def test_convolution(self, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
        assert_maps_explain(make(), torch.randn(shape))

    @given(
        stride=st.integers(1, 3),
        padding=st.integers(0, 3),
        dilation=st.integers(1, 3),
        kernel=st.integers(1, 3),
        groups=st.sampled_from([1, 2, 4]),
    )
    def test_geometry_of_a_convolution(
        self, stride: int, padding: int, dilation: int, kernel: int, groups: int
    ) -> None:
        module = nn.Conv2d(
            4, 8, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        assert_maps_explain(module, torch.randn(2, 4, 8, 7))

    @pytest.mark.parametrize("with_states", [False, True])
    @pytest.mark.parametrize("batched", [True, False])
    @pytest.mark.parametrize(("make", "two_states"), RECURRENT)
    def test_recurrent(
        self, make: Callable[[], nn.Module], two_states: bool, batched: bool, with_states: bool
    ) -> None:
        cell = make()
        module = Recurrent(cell)
        x = torch.randn(5, 5, 3) if batched else torch.randn(5, 3)
        count = cell.num_layers * (1 + cell.bidirectional)
        shape = (count, 5, 4) if batched else (count, 4)
        states = [torch.randn(shape) for _ in range(1 + two_states)]
        assert_maps_explain(module, (x, *states) if with_states else x)

    @pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}])
    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize("need_weights", [True, False])
    def test_self_attention(
        self, options: dict[str, bool], batch_first: bool, need_weights: bool
    ) -> None:
        module = Attention(batch_first=batch_first, **options)
        batch = {"x": torch.randn(3, 4, 8), "need_weights": need_weights}
        assert names(find_linear_maps(module, batch)) == [
            "attention.in_proj_weight",
            "attention.out_proj",
        ]
        assert_maps_explain(module, batch)

    def test_masked_self_attention(self) -> None:
        mask = nn.Transformer.generate_square_subsequent_mask(3)
        assert_maps_explain(Attention(), {"x": torch.randn(3, 2, 8), "attn_mask": mask})
        assert_maps_explain(Attention(), {"x": torch.randn(3, 8), "attn_mask": mask})

    def test_padding_in_attention(self) -> None:
        padding = torch.tensor([[False, False, False], [False, False, True]])
        assert_maps_explain(Attention(), {"x": torch.randn(3, 2, 8), "key_padding_mask": padding})
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        module = nn.TransformerEncoder(layer, 1)
        assert_maps_explain(module, {"src": torch.randn(2, 3, 8), "src_key_padding_mask": padding})

    @pytest.mark.parametrize("options", [{}, {"kdim": 6, "vdim": 6}])
    def test_attention_to_something_else_shows_its_output_projection(
        self, options: dict[str, int]
    ) -> None:
        module = Attention(**options)
        batch = (torch.randn(3, 2, 8), torch.randn(4, 2, options.get("kdim", 8)))
        assert names(find_linear_maps(module, batch)) == ["attention.out_proj"]
        assert_maps_explain(module, batch)

    def test_transformers_are_shown_although_they_have_a_fused_path(self) -> None:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        module = nn.TransformerEncoder(layer, 2).eval().requires_grad_(False)
        batch = torch.randn(3, 4, 8)
        kinds = ("self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2")
        expected = [f"layers.{k}.{kind}" for k in range(2) for kind in kinds]
        assert names(find_linear_maps(module, batch)) == expected
        with torch.no_grad():
            assert [m.name for m, _, _ in shown(module, batch)[1]] == expected
        assert torch.backends.mha.get_fastpath_enabled()
        assert_maps_explain(module.requires_grad_(True), batch)

    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            (nn.Linear(3, 2), (4, 3)),
            (nn.Conv1d(3, 2, 3, padding=1), (2, 3, 5)),
            (Recurrent(nn.LSTM(3, 4)), (5, 2, 3)),
            (Recurrent(nn.GRU(3, 4)), (5, 2, 3)),
            (Attention(), (3, 2, 8)),
        ],
        ids=["linear", "convolution", "lstm", "gru", "attention"],
    )
    def test_half_precision(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        module = copy.deepcopy(module).bfloat16()
        batch = torch.randn(shape).bfloat16()
        output, parts = shown(module, batch)
        torch.testing.assert_close(output, run(module, batch), rtol=0.05, atol=0.02)
        assert {x.dtype for _, x, _ in parts} == {torch.float32}
        found = sensitivities(module, [batch], find_linear_maps(module, batch), divergence="mse")
        assert all(one.rows.any() for one in found.values())

    def test_functions_called_with_parameters_are_maps_too(self) -> None:
        class Functional(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mixing = nn.Parameter(torch.randn(3, 5))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return F.linear(x, weight=self.mixing)

        assert names(find_linear_maps(Functional(), torch.randn(2, 5))) == ["mixing"]
        assert_maps_explain(Functional(), torch.randn(2, 5))


class TestFinding:
    def test_maps_come_in_the_order_of_execution(self) -> None:
        class Backwards(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.last = nn.Linear(4, 2)
                self.first = nn.Conv1d(2, 4, 3, bias=False)
                self.unused = nn.Linear(3, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.last(self.first(x).mean(-1))

        first, last = find_linear_maps(Backwards(), torch.randn(2, 2, 5))
        assert first == LinearMap("first", ("first.weight",), (), 4, 6, ((4, 2, 3),))
        assert last == LinearMap("last", ("last.weight",), ("last.bias",), 2, 4, ((2, 4),))

    def test_names_of_recurrent_maps(self) -> None:
        lstm = Recurrent(nn.LSTM(3, 4, num_layers=2, bidirectional=True))
        maps = find_linear_maps(lstm, torch.randn(5, 2, 3))
        assert names(maps) == ["cell.l0", "cell.l0_reverse", "cell.l1", "cell.l1_reverse"]
        assert maps[3] == LinearMap(
            "cell.l1_reverse",
            ("cell.weight_ih_l1_reverse", "cell.weight_hh_l1_reverse"),
            ("cell.bias_ih_l1_reverse", "cell.bias_hh_l1_reverse"),
            16,
            12,
            ((16, 8), (16, 4)),
        )
        gru = Recurrent(nn.GRU(3, 4, bidirectional=True))
        maps = find_linear_maps(gru, torch.randn(5, 2, 3))
        assert names(maps) == [
            "cell.l0.ih",
            "cell.l0.hh",
            "cell.l0_reverse.ih",
            "cell.l0_reverse.hh",
        ]
        assert (maps[0].rows, maps[0].columns, maps[1].columns) == (12, 3, 4)
        assert names(find_linear_maps(nn.RNN(3, 4), torch.randn(5, 2, 3))) == ["l0"]

    def test_a_layer_called_twice_is_one_map_of_pooled_inputs(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(self.layer(x).relu_())

        module, x = Twice(), torch.randn(6, 4)
        (only,) = find_linear_maps(module, x)
        assert_maps_explain(module, x)
        assert only.uses == 2
        hidden = module.layer(x).relu().detach()
        _, parts = shown(module, x, [only])
        torch.testing.assert_close(torch.cat([one for _, one, _ in parts]), torch.cat([x, hidden]))

    def test_tied_weights_make_one_map(self) -> None:
        class Tied(nn.Module):
            def __init__(self, bias: bool) -> None:
                super().__init__()
                self.one, self.two = nn.Linear(4, 4, bias=bias), nn.Linear(4, 4, bias=bias)
                self.two.weight = self.one.weight

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.two(self.one(x))

        x = torch.randn(6, 4)
        for bias, calls in ((True, 1), (False, 2)):
            module = Tied(bias)
            assert names(find_linear_maps(module, x)) == ["one"]
            output, parts = shown(module, x)
            assert len(parts) == calls
            torch.testing.assert_close(output, module(x))

    def test_a_tied_embedding_leaves_the_layer_a_map(self) -> None:
        class Language(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
                self.head.weight = self.embedding.weight

            def forward(self, tokens: torch.Tensor) -> torch.Tensor:
                return self.head(self.embedding(tokens))

        tokens = torch.randint(7, (2, 3))
        (only,) = find_linear_maps(Language(), tokens)
        assert only.weights == ("embedding.weight",) and only.columns == 4

    @pytest.mark.filterwarnings("ignore:LSTM with projections")
    @pytest.mark.parametrize(
        ("module", "batch"),
        [
            (nn.LSTM(3, 4, proj_size=2), torch.randn(5, 2, 3)),
            (nn.Embedding(5, 3), torch.tensor([1, 2])),
            (nn.BatchNorm1d(3), torch.randn(4, 3)),
            (nn.ConvTranspose1d(3, 4, 2), torch.randn(2, 3, 5)),
            (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), torch.randn(2, 3)),
        ],
        ids=["projected LSTM", "embedding", "norm", "transposed", "parametrized"],
    )
    def test_what_is_no_map_still_runs(self, module: nn.Module, batch: torch.Tensor) -> None:
        assert find_linear_maps(module, batch) == ()
        assert torch.equal(shown(module, batch)[0], run(module, batch))

    def test_packed_sequences_are_no_maps(self) -> None:
        class Packed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell, self.fc = nn.GRU(3, 4), nn.Linear(4, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                packed = packing.pack_padded_sequence(x, [5, 3])
                return self.fc(packing.pad_packed_sequence(self.cell(packed)[0])[0])

        module, x = Packed(), torch.randn(5, 2, 3)
        maps = find_linear_maps(module, x)
        assert names(maps) == ["fc"]
        assert_maps_explain(module, x)
        assert sensitivities(module, [x], maps)["fc"].rows.min() > 0

    def test_an_empty_layer_is_no_map(self) -> None:
        with pytest.warns(UserWarning, match="zero-element"):
            module = nn.Sequential(nn.Linear(3, 0), nn.Linear(0, 2))
        assert find_linear_maps(module, torch.randn(2, 3)) == ()


class TestMatrix:
    def test_matrix_and_split_are_inverse(self) -> None:
        module = Recurrent(nn.LSTM(3, 4))
        (only,) = find_linear_maps(module, torch.randn(5, 2, 3))
        state = module.state_dict()
        matrix = only.matrix(state)
        assert matrix.shape == (only.rows, only.width) and matrix.dtype == torch.float32
        parameters = only.split(matrix)
        assert torch.equal(parameters["cell.weight_ih_l0"], state["cell.weight_ih_l0"])
        assert torch.equal(parameters["cell.weight_hh_l0"], state["cell.weight_hh_l0"])
        assert torch.equal(
            parameters["cell.bias_ih_l0"], state["cell.bias_ih_l0"] + state["cell.bias_hh_l0"]
        )
        assert not parameters["cell.bias_hh_l0"].any()
        assert torch.equal(only.matrix(parameters), matrix)

    def test_other_dtypes_become_float32(self) -> None:
        module = nn.Linear(3, 2).bfloat16()
        (only,) = find_linear_maps(module, torch.randn(2, 3).bfloat16())
        matrix = only.matrix(module.state_dict())
        assert matrix.dtype == torch.float32
        assert torch.equal(matrix[:, 3], module.bias.float())


class Classifier(nn.Module):
    """A convolution in groups, a recurrent layer, a norm and a linear layer, some used in place."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(2, 4, 3, groups=2)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.cell = nn.RNN(4, 3, batch_first=True)
        self.fc = nn.Linear(3, 5)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.norm(self.convolution(x).relu_()))
        logits: torch.Tensor = self.fc(self.cell(x.transpose(1, 2))[0][:, -1])
        return logits


@pytest.fixture
def classifier() -> Classifier:
    return Classifier()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return [torch.randn(4, 2, 8), torch.randn(3, 2, 8)]


def snapshot(module: nn.Module) -> tuple[Any, ...]:
    """Everything that calibration must leave alone."""
    return (
        [part.training for part in module.modules()],
        [sorted(vars(part)) for part in module.modules()],
        [p.requires_grad for p in module.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in module.parameters()],
        {name: value.tolist() for name, value in module.state_dict().items()},
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch.get_rng_state().tolist(),
    )


class TestMoments:
    def test_of_a_linear_layer_with_bias(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(moments_module, "SLICE", 5)
        module = nn.Linear(3, 2)
        data = [torch.randn(4, 3), torch.randn(2, 6, 3)]
        maps = find_linear_maps(module, data[0])
        moment = sensitivities(module, data, maps, divergence="mse")["weight"].moment
        x = torch.cat([part.reshape(-1, 3) for part in data]).double()
        x = torch.cat([x, torch.ones(len(x), 1)], 1)
        assert moment.dtype == np.float64
        np.testing.assert_allclose(moment, x.T @ x / 16, rtol=1e-6, atol=1e-6)
        assert moment[3, 3] == 1 and np.array_equal(moment, moment.T)

    def test_of_a_convolution_by_an_explicit_loop(self) -> None:
        module = nn.Conv2d(4, 6, (2, 3), stride=(1, 2), padding=(0, 1), groups=2, bias=False)
        batch = torch.randn(3, 4, 4, 5)
        maps = find_linear_maps(module, batch)
        moment = sensitivities(module, [batch], maps, divergence="mse")["weight"].moment
        padded, expected, count = F.pad(batch, (1, 1)).double(), np.zeros((12, 12)), 0
        for sample in padded:
            for channels in (sample[:2], sample[2:]):
                for i in range(3):
                    for j in range(0, 5, 2):
                        x = channels[:, i : i + 2, j : j + 3].flatten().numpy()
                        expected += np.outer(x, x)
                        count += 1
        np.testing.assert_allclose(moment, expected / count, rtol=1e-6, atol=1e-7)

    def test_of_a_recurrent_layer_by_an_explicit_loop(self) -> None:
        module = Recurrent(nn.RNN(3, 4))
        batch = torch.randn(5, 2, 3)
        maps = find_linear_maps(module, batch)
        moment = sensitivities(module, [batch], maps, divergence="mse")["cell.l0"].moment
        hidden = torch.cat([torch.zeros(1, 2, 4), module.cell(batch)[0][:-1]]).detach()
        x = torch.cat([batch, hidden, torch.ones(5, 2, 1)], -1).reshape(10, 8).double()
        np.testing.assert_allclose(moment, x.T @ x / 10, rtol=1e-5, atol=1e-7)

    def test_do_not_depend_on_gradients(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        maps = find_linear_maps(classifier, batches[0])
        one = sensitivities(classifier, batches, maps, seed=1, probes=1)
        two = sensitivities(classifier, batches, maps, seed=2, probes=3, divergence="mse")
        assert all(np.array_equal(one[name].moment, two[name].moment) for name in one)


def mean_squares(jacobians: torch.Tensor) -> np.ndarray:
    """Mean over samples of the sums over the outputs, for Jacobians [N, outputs, rows]."""
    squares: np.ndarray = jacobians.square().sum(1).mean(0).numpy()
    return squares


class TestRows:
    def test_mse_is_the_squared_jacobian(self) -> None:
        # The output is linear in the hidden layer, so that every sample has the same Jacobian.
        module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
        data = [torch.randn(60, 3)] * 10
        maps = find_linear_maps(module, data[0])
        found = sensitivities(module, data, maps, divergence="mse", probes=4)
        expected = module[1].weight.detach().square().sum(0).numpy()
        np.testing.assert_allclose(found["0"].rows, expected, rtol=0.1)
        np.testing.assert_allclose(found["1"].rows, np.ones(5), rtol=0.1)

    def test_kl_is_the_fisher_information_at_the_temperature(self) -> None:
        module = nn.Linear(3, 4)
        data = [torch.randn(100, 3)] * 10
        maps = find_linear_maps(module, data[0])
        rows = sensitivities(module, data, maps, temperature=2.0, probes=4)["weight"].rows
        chances = (module(data[0]) / 2).softmax(-1).detach()
        np.testing.assert_allclose(rows, (chances * (1 - chances)).mean(0) / 4, rtol=0.1)

    def test_positions_are_summed(self) -> None:
        # One gradient for each of the 6 positions: the sum is that of one position six times.
        one, six = torch.randn(50, 1, 3), torch.randn(50, 6, 3)
        module = nn.Linear(3, 4)
        maps = find_linear_maps(module, one)
        options: dict[str, Any] = {"divergence": "mse", "probes": 20}
        few = sensitivities(module, [one], maps, **options)["weight"].rows
        many = sensitivities(module, [six], maps, **options)["weight"].rows
        np.testing.assert_allclose(many, 6 * few, rtol=0.3)

    def test_groups_have_their_own_rows(self) -> None:
        class Half(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Conv1d(4, 6, 3, groups=2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x)[:, :3].sum(-1)

        x = torch.randn(4, 4, 7)
        found = sensitivities(Half(), [x, x], find_linear_maps(Half(), x), divergence="kl")[
            "layer"
        ].rows
        assert found.shape == (6,) and found[:3].min() > 0 and not found[3:].any()

    def test_samples_may_come_in_any_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sensitivity_module, "rows_for", lambda _: 10_000)  # all of them
        # With one output a projection only scales the gradients by a number of variance 1.
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
        x = torch.randn(4000, 3)
        maps = find_linear_maps(module, x)
        whole = sensitivities(module, [x], maps, divergence="mse")["0"]
        parts = sensitivities(module, list(x.split(700)), maps, divergence="mse")["0"]
        np.testing.assert_allclose(whole.moment, parts.moment, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(whole.rows, parts.rows, rtol=0.15)

    def test_repeat_with_the_seed(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        maps = find_linear_maps(classifier, batches[0])
        one, same, other = (
            sensitivities(classifier, batches, maps, seed=seed)["fc"].rows for seed in (1, 1, 2)
        )
        assert np.array_equal(one, same) and not np.array_equal(one, other)

    def test_explain_the_divergence_of_an_error(self) -> None:
        """Half the sum over rows of rows[i] * E_i moment E_i^T is the mean squared error / 2."""
        module = nn.Linear(4, 3)
        x = torch.randn(500, 4)
        maps = find_linear_maps(module, x)
        found = sensitivities(module, [x] * 10, maps, divergence="mse")["weight"]
        changed = copy.deepcopy(module)
        error = maps[0].split(0.01 * torch.randn(3, 5))
        changed.load_state_dict({k: v + error[k] for k, v in module.state_dict().items()})
        moved = (changed(x) - module(x)).square().sum(1).mean().item() / 2
        e = maps[0].matrix(error).numpy()
        predicted = float(found.rows @ np.einsum("ij,jk,ik->i", e, found.moment, e)) / 2
        assert predicted == pytest.approx(moved, rel=0.1)


class TestSensitivities:
    def test_a_map_that_never_runs_has_zeros(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        never = LinearMap("unused", ("unused.weight",), ("unused.bias",), 2, 2, ((2, 2),))
        maps = find_linear_maps(classifier, batches[0])
        found = sensitivities(classifier, batches, [*maps, never])
        assert list(found) == ["convolution", "cell.l0", "fc", "unused"]
        assert not found["unused"].moment.any() and not found["unused"].rows.any()
        assert found["unused"].moment.shape == (3, 3) and found["unused"].rows.shape == (2,)
        assert all(found[m.name].rows.min() > 0 for m in maps)

    def test_a_map_without_gradient_has_zero_rows(self) -> None:
        class Detached(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.two, self.three = (nn.Linear(3, 3) for _ in range(3))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                with torch.no_grad():
                    x = self.one(x)
                return self.three(self.two(x).detach())

        module, x = Detached(), torch.randn(4, 3)
        found = sensitivities(module, [x], find_linear_maps(module, x), divergence="kl")
        assert found["one"].moment.any() and not found["one"].rows.any()
        assert found["two"].moment.any() and not found["two"].rows.any()
        assert found["three"].rows.any()

    def test_an_output_without_gradient_gives_zero_rows(self) -> None:
        class Constant(nn.Linear):
            @torch.no_grad()
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x)

        module, x = Constant(3, 2), torch.randn(4, 3)
        maps = find_linear_maps(module, x)
        (found,) = sensitivities(module, [x], maps, divergence="kl").values()
        assert found.moment.any() and not found.rows.any()
        bias = diagonal_sensitivity(module, [x], ["bias"], divergence="kl")["bias"]
        assert not bias.any()

    @pytest.mark.parametrize("frozen", [False, True])
    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_leave_everything_as_it_was(
        self,
        classifier: Classifier,
        batches: list[torch.Tensor],
        context: Callable[[], Any],
        frozen: bool,
    ) -> None:
        reference = sensitivities(classifier, batches, find_linear_maps(classifier, batches[0]))
        classifier.train().convolution.eval()
        classifier.requires_grad_(not frozen)
        for parameter in classifier.fc.parameters():
            parameter.grad = torch.ones_like(parameter)
        inputs = [batch.requires_grad_(True) for batch in batches]
        with context():
            before = snapshot(classifier)
            maps = find_linear_maps(classifier, batches[0])
            found = sensitivities(classifier, batches, maps)
            diagonal_sensitivity(classifier, batches, ["norm.weight", "fc.weight"])
            whole = [one for one in maps if one.groups == 1]
            assert len(list(lockstep(classifier, batches, whole, [{}]))) == len(whole)
            list(outputs(classifier, batches))
            assert snapshot(classifier) == before
        assert all(batch.grad is None for batch in inputs)
        for name, expected in reference.items():
            np.testing.assert_allclose(found[name].moment, expected.moment, rtol=1e-6)
            np.testing.assert_allclose(found[name].rows, expected.rows, rtol=1e-5)

    def test_progress_counts_the_batches(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        calls: list[tuple[Any, ...]] = []
        maps = find_linear_maps(classifier, batches[0])
        sensitivities(classifier, batches, maps, progress=lambda *call: calls.append(call))
        assert calls == [("calibration", 1, 2, {}), ("calibration", 2, 2, {})]

    @pytest.mark.parametrize("options", [{"divergence": "js"}, {"temperature": 0.0}, {"probes": 0}])
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        module = nn.Linear(2, 3)
        with pytest.raises(ValueError, match=next(iter(options))):
            sensitivities(module, [torch.ones(1, 2)], [], **options)
        with pytest.raises(ValueError, match=next(iter(options))):
            diagonal_sensitivity(module, [torch.ones(1, 2)], ["bias"], **options)


class TestDiagonal:
    def test_is_the_fisher_information(self) -> None:
        class Gain(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gain = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.gain * x

        x = torch.randn(200, 3)
        found = diagonal_sensitivity(Gain(), [x] * 30, ["gain"], divergence="mse", seed=1)
        np.testing.assert_allclose(found["gain"], x.square().mean(0), rtol=0.2)

    def test_has_the_units_of_the_rows(self) -> None:
        # A bias has the input 1, so that both estimate the same.
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
        data = list(torch.randn(40, 25, 3))
        maps = find_linear_maps(module, data[0])
        options: dict[str, Any] = {"divergence": "kl", "probes": 20}
        rows = sensitivities(module, data, maps, **options)["0"].rows
        diagonal = diagonal_sensitivity(module, data, ["0.bias"], **options)["0.bias"]
        np.testing.assert_allclose(diagonal, rows, rtol=0.3)

    def test_embeddings_follow_the_use_of_their_rows(self) -> None:
        module = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 5))
        tokens = torch.tensor([[0, 1, 1, 0], [1, 1, 3, 1]])
        found = diagonal_sensitivity(module, [tokens], ["0.weight"])["0.weight"]
        assert found.shape == (4, 3) and found.dtype == np.float64
        assert not found[2].any() and found[[0, 1, 3]].min() > 0

    def test_tied_names_have_the_same_and_other_tensors_zeros(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one = nn.Parameter(torch.ones(2))
                self.two = self.one
                self.norm = nn.BatchNorm1d(2)
                self.unused = nn.Parameter(torch.ones(()))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.two * self.norm(x)

        module = Tied()
        x = torch.randn(5, 2)
        found = diagonal_sensitivity(module, [x], list(module.state_dict()), divergence="kl")
        assert found["one"].all() and np.array_equal(found["one"], found["two"])
        assert found["norm.weight"].all() and found["norm.bias"].all()
        for name in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "unused"):
            assert not found[name].any() and found[name].shape == module.state_dict()[name].shape
        assert diagonal_sensitivity(module, [x], [], divergence="kl") == {}


class TestHooked:
    def test_hooks_on_outputs_get_their_gradients(self) -> None:
        module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
        module.requires_grad_(False)
        batch = torch.randn(5, 3)
        gradients: dict[str, torch.Tensor] = {}

        def hook(m: LinearMap, _inputs: torch.Tensor, result: torch.Tensor) -> None:
            result.register_hook(lambda gradient: gradients.update({m.name: gradient.clone()}))

        with hooked(module, find_linear_maps(module, batch), hook):
            module(batch).sum().backward()
        torch.testing.assert_close(gradients["2"], torch.ones(5, 2))
        active = (module[0](batch) > 0).float()
        torch.testing.assert_close(gradients["0"], active * module[2].weight.sum(0))

    def test_only_the_maps_asked_for_are_shown(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        maps = find_linear_maps(classifier, batches[0])
        for only in maps:
            _, parts = shown(classifier.eval(), batches[0], [only])
            assert {m for m, _, _ in parts} == {only}

    def test_ends_with_the_block_also_after_an_exception(self) -> None:
        module, batch, calls = nn.Linear(3, 2), torch.randn(4, 3), []
        maps = find_linear_maps(module, batch)
        with (
            pytest.raises(KeyError),
            hooked(module, maps, lambda *call: calls.append(call)),
        ):
            module(batch)
            raise KeyError
        module(batch)
        assert len(calls) == 1
        assert torch.backends.mha.get_fastpath_enabled()

    def test_other_modules_are_not_shown(self) -> None:
        module, other, calls = nn.Linear(3, 2), nn.Linear(3, 2), []
        batch = torch.randn(4, 3)
        with hooked(module, find_linear_maps(module, batch), lambda *call: calls.append(call)):
            other(batch)
        assert calls == []

    def test_dropout_between_recurrent_layers_acts_in_training(self) -> None:
        module = Recurrent(nn.GRU(3, 4, num_layers=2, dropout=1.0))
        batch = torch.randn(5, 2, 3)
        maps = find_linear_maps(module, batch)
        output, _ = shown(module.train(), batch, maps)
        torch.testing.assert_close(output, run(module, batch))


class Named(nn.Module):
    """Gives whatever is asked for."""

    def __init__(self, result: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: torch.Tensor) -> Any:
        return self.result(x)


class WithLogits(dict[str, torch.Tensor]):
    @property
    def logits(self) -> torch.Tensor:
        return self["logits"]


class TestRunning:
    @pytest.mark.parametrize(
        "result",
        [
            lambda x: x,
            lambda x: [x.long(), x],
            lambda x: {"mask": x > 0, "y": {"z": x}},
            lambda x: (None, (x,)),
            lambda x: WithLogits(loss=x.sum(), logits=x),
            lambda x: x.double(),
        ],
    )
    def test_finds_the_floating_output(self, result: Callable[..., Any]) -> None:
        x = torch.randn(2, 3)
        ((output,),) = all_outputs(Named(result), x).values()
        assert output.dtype == torch.float32 and torch.equal(output, x)

    def test_batches_are_tensors_arguments_or_keywords(self) -> None:
        module = nn.Bilinear(2, 3, 4)
        a, b = torch.randn(5, 2), torch.randn(5, 3)
        expected = module(a, b)
        for batch in ((a, b), [a, b], {"input2": b, "input1": a}):
            assert torch.equal(run(module, batch), expected)

    def test_outputs_are_those_of_evaluation_without_history(
        self, classifier: Classifier, batches: list[torch.Tensor]
    ) -> None:
        found = outputs(classifier.train(), batches)
        assert classifier.training and classifier.norm.num_batches_tracked == 0
        for one, batch in zip(found, batches, strict=True):
            (output,) = one[""]
            assert not output.requires_grad
            torch.testing.assert_close(output, classifier.eval()(batch).detach())

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (torch.randn(4, 5), "rejects calibration batch 1: RuntimeError: .*mat1 and mat2"),
            ({"y": torch.randn(4, 3)}, "rejects calibration batch 1: TypeError"),
            (torch.full((4, 3), torch.nan), "output for calibration batch 1 is not finite"),
            (torch.empty(0, 3), "calibration batch 1 is empty"),
        ],
        ids=["shape", "keyword", "nan", "empty"],
    )
    def test_bad_batches_are_named_and_the_module_is_restored(self, bad: Any, message: str) -> None:
        module = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
        good = torch.randn(4, 3)
        maps = find_linear_maps(module, good)
        before = snapshot(module)
        calls: list[Callable[[], Any]] = [
            lambda: list(outputs(module, [good, bad])),
            lambda: sensitivities(module, [good, bad], maps),
            lambda: diagonal_sensitivity(module, [good, bad], ["0.bias"]),
        ]
        for call in calls:
            with pytest.raises(vc.CalibrationError, match=message):
                call()
            assert snapshot(module)[:-1] == before[:-1]
        with pytest.raises(vc.CalibrationError, match=message.replace("1", "0", 1)):
            find_linear_maps(module, bad)

    @pytest.mark.parametrize("result", [lambda x: x.long(), lambda x: None, lambda x: ()])
    def test_modules_without_a_floating_output_are_refused(
        self, result: Callable[..., Any]
    ) -> None:
        with pytest.raises(vc.CalibrationError, match="no floating-point output"):
            run(Named(result), torch.ones(2))

    def test_statistics_that_are_not_finite_name_their_map(self) -> None:
        # The inputs are finite, and so are the outputs, but not their squares in float32.
        module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh())
        batch = torch.full((3, 2), 1e30)
        with pytest.raises(vc.CalibrationError, match="statistics of 0 are not finite"):
            sensitivities(module, [batch], find_linear_maps(module, batch))

    def test_no_batches_are_refused(self) -> None:
        module = nn.Linear(2, 2)
        with pytest.raises(vc.CalibrationError, match="no calibration batches"):
            sensitivities(module, [], [])
        with pytest.raises(vc.CalibrationError, match="no calibration batches"):
            diagonal_sensitivity(module, [], ["bias"])
