"""Runs that stop before each operator: what they show, and that they leave nothing behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from vaecomp_native.calibration import lockstep as lockstep_module  # noqa: E402
from vaecomp_native.calibration.hooks import chosen  # noqa: E402
from vaecomp_native.calibration.interception import find_linear_maps  # noqa: E402
from vaecomp_native.calibration.lockstep import InputMoments, lockstep  # noqa: E402
from vaecomp_native.calibration.pausing import Pausing  # noqa: E402
from vaecomp_native.errors import CalibrationError  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def changed(module: nn.Module, data: list[Any]) -> dict[str, InputMoments | None]:
    """Moments of all maps, each of which is doubled after its turn."""
    state = module.state_dict()
    variant: dict[str, torch.Tensor] = {}
    found = {}
    maps = find_linear_maps(module, data[0])
    for linear_map, (moments,) in lockstep(module, data, maps, [variant]):
        found[linear_map.name] = moments
        variant |= {name: 2 * state[name] for name in linear_map.parameters}
    return found


def moments_of(before: torch.Tensor, now: torch.Tensor) -> tuple[Any, Any]:
    """The moments by their definition, with ones for the bias."""
    x, y = (torch.cat([one, torch.ones(len(one), 1)], 1).double() for one in (now, before))
    return (x.T @ x / len(x)).numpy(), (y.T @ x / len(x)).numpy()


class Recurrent(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(self.cell(x)[0][..., :4])
        return outputs


class TestMoments:
    def test_are_of_inputs_now_and_before(self) -> None:
        module = nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
        data = [torch.randn(n, 5) for n in (7, 1, 12)]
        found = changed(module, data)
        inputs = torch.cat(data)
        hidden = F.relu(module[0](inputs)).detach()
        for name, before, now in (("0", inputs, inputs), ("2", hidden, 2 * hidden)):
            moments = found[name]
            assert moments is not None
            expected = moments_of(before, now)
            assert moments.now == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
            assert moments.cross == pytest.approx(expected[1], rel=1e-4, abs=1e-5)

    def test_of_convolutions(self) -> None:
        module = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 2, 2))
        data = [torch.randn(n, 2, 7, 6) for n in (2, 1)]
        found = changed(module, data)
        hidden = [module[0](x).detach() for x in data]
        windows = torch.cat([F.unfold(x, 2).transpose(1, 2).flatten(0, 1) for x in hidden])
        moments = found["1"]
        assert moments is not None
        expected = moments_of(windows, 2 * windows)
        assert moments.now == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
        assert moments.cross == pytest.approx(expected[1], rel=1e-4, abs=1e-5)

    @pytest.mark.parametrize(
        "cell",
        [
            lambda: nn.RNN(3, 4, num_layers=2, nonlinearity="relu"),
            lambda: nn.LSTM(3, 4, bidirectional=True, batch_first=True),
            lambda: nn.GRU(3, 4, num_layers=2),
        ],
        ids=["rnn", "lstm", "gru"],
    )
    def test_of_recurrent_layers(self, cell: Callable[[], nn.Module]) -> None:
        """The last layer sees what the cell gives with doubled weights."""
        module = Recurrent(cell())
        data = [torch.randn(5, 2, 3)]
        before = module.cell(data[0])[0].detach()[..., :4].reshape(-1, 4)
        found = changed(module, data)
        with torch.no_grad():
            for parameter in module.cell.parameters():
                parameter *= 2
        now = module.cell(data[0])[0].detach()[..., :4].reshape(-1, 4)
        expected = moments_of(before, now)
        moments = found["last"]
        assert moments is not None
        assert moments.now == pytest.approx(expected[0], rel=1e-3, abs=1e-4)
        assert moments.cross == pytest.approx(expected[1], rel=1e-3, abs=1e-4)

    def test_see_the_hidden_states_before_each_step(self) -> None:
        module = Recurrent(nn.RNN(3, 4))
        x = torch.randn(5, 2, 3)
        found = changed(module, [x])["cell.l0"]
        hidden = module.cell(x)[0].detach()
        before = torch.cat([torch.zeros(1, 2, 4), hidden[:-1]])
        seen = torch.cat([x, before], -1).reshape(-1, 7)
        assert found is not None
        assert found.now == pytest.approx(moments_of(seen, seen)[0], rel=1e-4, abs=1e-5)

    def test_of_a_sample_are_those_of_the_same_positions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second layer's inputs are doubled: at equal positions, cross is half of now."""
        monkeypatch.setattr(lockstep_module, "rows_for", lambda _: 6)
        module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
        found = changed(module, [torch.randn(50, 4), torch.randn(40, 4)])["1"]
        assert found is not None
        np.testing.assert_allclose(2 * found.cross, found.now, rtol=1e-5)

    def test_are_of_batches_spread_over_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lockstep_module, "MAX_RUNS", 6)
        module = nn.Linear(1, 1, bias=False)
        data = [torch.full((1, 1), float(n)) for n in range(9)]
        ((_, (found,)),) = lockstep(module, data, find_linear_maps(module, data[0]), [{}])
        assert found is not None and found.now == pytest.approx((0 + 16 + 64) / 3)


class TestOrder:
    def test_each_variant_has_its_own_weights(self) -> None:
        module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False))
        x = torch.randn(20, 3)
        state = module.state_dict()
        variants: list[dict[str, torch.Tensor]] = [{}, {}]
        runs = lockstep(module, [x], find_linear_maps(module, x), variants)
        found = []
        for linear_map, moments in runs:
            found.append(moments)
            for factor, variant in enumerate(variants, 2):
                variant[linear_map.weights[0]] = factor * state[linear_map.weights[0]]
        first, second = found[1]
        assert first is not None and second is not None
        np.testing.assert_allclose(first.now * 9 / 4, second.now, rtol=1e-5)
        np.testing.assert_allclose(first.cross * 3 / 2, second.cross, rtol=1e-5)

    def test_batches_may_take_different_ways(self) -> None:
        class Ways(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.left, self.right = (nn.Linear(2, 2) for _ in range(3))
                self.last, self.never = nn.Linear(2, 2), nn.Linear(2, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                hidden = self.first(x)
                return self.last(self.left(hidden) if x.sum() > 0 else self.right(hidden))

        module = Ways()
        data = [torch.ones(3, 2), -torch.ones(4, 2), torch.ones(1, 2)]
        maps = [*find_linear_maps(module, data[0]), *find_linear_maps(module, data[1])]
        found = [one.name for one, _ in lockstep(module, data, set(maps), [{}])]
        assert found[0] == "first" and sorted(found) == ["first", "last", "left", "right"]

    def test_positions_that_do_not_belong_together_give_no_moments(self) -> None:
        class Positive(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                hidden = self.first(x)
                return self.last(hidden[hidden[:, 0] > 0.5])

        module, x = Positive(), torch.randn(200, 2)
        found = changed(module, [x])
        assert found["first"] is not None and found["last"] is None

    def test_an_operator_that_runs_twice_stops_once(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(3, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                hidden: torch.Tensor = self.layer(self.layer(x))
                return hidden

        module, x = Twice(), torch.randn(4, 3)
        (only,) = find_linear_maps(module, x)
        assert only.uses == 2
        assert len(list(lockstep(module, [x], [only], [{}]))) == 1


class TestSurroundings:
    def test_the_module_stays_as_it_was(self) -> None:
        module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 2)).train()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        changed(module, [torch.randn(4, 3)])
        assert module.training and module[1].training
        assert all(torch.equal(before[name], one) for name, one in module.state_dict().items())
        assert torch.backends.mha.get_fastpath_enabled()

    def test_leaving_early_ends_all_threads_and_frees_what_they_hold(self) -> None:
        module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
        data = [torch.randn(4, 3) for _ in range(5)]
        held: list[weakref.ref[torch.Tensor]] = []
        module[1].register_forward_hook(lambda _m, _i, out: held.append(weakref.ref(out)))
        threads = threading.active_count()
        runs = lockstep(module, data, find_linear_maps(module, data[0]), [{}])
        next(runs)
        next(runs)
        assert threading.active_count() == threads + 10
        assert any(one() is not None for one in held)
        runs.close()
        gc.collect()
        assert threading.active_count() == threads
        assert all(one() is None for one in held)

    def test_an_error_in_a_run_is_raised_and_ends_the_others(self) -> None:
        class Fails(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                hidden = self.layer(x)
                if len(x) == 3:
                    raise ValueError("three")
                return self.last(hidden)

        module, threads = Fails(), threading.active_count()
        data = [torch.ones(2, 2), torch.ones(3, 2)]
        with pytest.raises(CalibrationError, match=r"batch 1: .*three"):
            list(lockstep(module, data, find_linear_maps(module, data[0]), [{}]))
        assert threading.active_count() == threads

    def test_a_module_that_keeps_values_between_its_parts_is_told(self) -> None:
        class Keeps(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.kept = x
                hidden = self.first(x)
                return self.last(hidden + self.kept)

        data = [torch.randn(4, 3) for _ in range(3)]
        with pytest.warns(UserWarning, match="last and what comes after it"):
            found = changed(Keeps(), data)
        assert found["first"] is not None and found["last"] is None

    def test_runs_have_the_callers_precision_and_device(self) -> None:
        seen = []

        class Sees(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                seen.append((self.layer(x).dtype, torch.get_default_device().type))
                return self.last(x)

        module, x = Sees(), torch.ones(2, 2)
        maps = find_linear_maps(module, x)
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
            list(lockstep(module, [x], maps, [{}]))
        assert set(seen) == {(torch.bfloat16, "meta")}


class TestPausing:
    def test_works_only_when_told(self) -> None:
        done: list[int] = []

        def count(pause: Callable[[int], None]) -> None:
            for number in range(3):
                done.append(number)
                pause(number)

        pausing = Pausing(count)
        assert pausing.at is None and done == []
        for number in range(3):
            pausing.proceed()
            assert pausing.at == number and done == list(range(number + 1))
        pausing.proceed()
        assert pausing.at is None
        pausing.abandon()

    def test_code_that_catches_everything_is_abandoned_nevertheless(self) -> None:
        def stubborn(pause: Callable[[int], None]) -> None:
            for number in range(100):
                try:
                    pause(number)
                except BaseException:  # as careless modules do
                    continue

        pausing = Pausing(stubborn)
        pausing.proceed()
        threads = threading.active_count()
        pausing.abandon()
        assert threading.active_count() == threads - 1

    def test_too_many_threads_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        pausing = Pausing(lambda pause: pause(1))
        with pytest.raises(CalibrationError, match="fewer batches"):
            pausing.proceed()
        pausing.abandon()

    def test_one_that_never_began_can_be_abandoned(self) -> None:
        Pausing(lambda pause: pause(1)).abandon()


@given(st.integers(0, 60), st.integers(1, 50), st.integers(0, 5))
def test_positions_are_chosen_once_each_and_in_order(count: int, limit: int, seed: int) -> None:
    index = chosen(count, limit, seed)
    assert len(index) == min(count, limit)
    assert torch.equal(index, index.unique()) and (index < max(count, 1)).all()
    assert torch.equal(index, chosen(count, limit, seed))


def test_all_positions_are_equally_likely() -> None:
    counts = torch.zeros(40)
    for seed in range(200):
        counts[chosen(40, 10, seed)] += 1
    # Binomial with mean 50 and standard deviation 6.
    assert counts.min() > 25 and counts.max() < 75
