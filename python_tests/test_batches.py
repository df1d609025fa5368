"""Calibration from what loaders give, and with modules in every state: it works or says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import vaecomp_native as vc  # noqa: E402
from vaecomp_native.calibration.batches import picked  # noqa: E402
from vaecomp_native.progress import silent  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


SAMPLES = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 5
BATCHES = SAMPLES.split(16)


class Head(nn.Module):
    """A linear layer, and what its subclasses make of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 5)


class Masked(Head):
    """Takes a mask, or labels if it gets them."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        logits: torch.Tensor = self.layer(x if mask is None else x * mask.view(len(x), -1)[:, :1])
        return logits


class Two(Head):
    """Needs two inputs."""

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(x + other.view(len(x), -1))
        return logits


class Several(Head):
    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(parts[0])
        return logits


class Classifier(Head):
    """As those of model libraries: with labels there is a loss."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        logits = self.layer(x)
        loss = {} if labels is None else {"loss": F.cross_entropy(logits, labels)}
        return loss | {"logits": logits}


def compress(module: nn.Module, batches: Any, path: Path, **options: Any) -> vc.CompressionReport:
    inputs = options.pop("inputs", None)
    options = {"codec": "quantized", "rate_weight": 1e-3, **options}
    calibration = vc.Calibration(batches, inputs)
    return vc.compress(module, path / "m.vaec", calibration=calibration, **options)


def plan(module: nn.Module, batches: Any, _: Path, inputs: Any = None) -> vc.Plan:
    return vc.plan(module, calibration=vc.Calibration(batches, inputs))


def refused(module: nn.Module, batches: Any, path: Path, message: str, **options: Any) -> None:
    """Compressing and planning fail with one line, and leave no file."""
    for call in (compress, plan):
        with pytest.raises((vc.CalibrationError, ValueError), match=message) as caught:
            call(module, batches, path, **options)
        assert "\n" not in str(caught.value)
    assert list(path.iterdir()) == []


def same(module: nn.Module, path: Path, first: Any, second: Any, **options: Any) -> None:
    """Both batches make the same file."""
    files = []
    for batches, more in ((first, {}), (second, options)):
        compress(module, batches, path, **more)
        files.append((path / "m.vaec").read_bytes())
    assert files[0] == files[1]


def loader() -> Any:
    return DataLoader(TensorDataset(SAMPLES, LABELS), batch_size=16)


class TestLabels:
    def test_are_picked_out(self, tmp_path: Path) -> None:
        for module in (nn.Linear(8, 5), Masked(), Several()):
            same(module, tmp_path, BATCHES, loader(), inputs=lambda batch: batch[0])

    def test_that_the_module_does_not_take_are_told(self, tmp_path: Path) -> None:
        message = (
            r"rejects calibration batch 0: TypeError.*drop them: .*inputs=lambda batch: batch\[0\]"
        )
        refused(nn.Linear(8, 5), loader(), tmp_path, message)

    @pytest.mark.parametrize("module", [Masked(), Two(), Several()])
    def test_that_it_would_take_for_something_else_are_told(
        self, module: nn.Module, tmp_path: Path
    ) -> None:
        message = (
            r"element 1 of calibration batch 0, int64 \[16\], may be labels.*inputs=lambda batch"
        )
        refused(module, loader(), tmp_path, message)

    @pytest.mark.parametrize(
        "labels",
        [
            LABELS.bool(),
            LABELS.float(),
            LABELS[:, None],
            F.one_hot(LABELS).float(),
            list(range(16)),
            [{"boxes": torch.zeros(1, 4)}] * 16,
        ],
    )
    def test_may_be_of_any_kind(self, labels: Any, tmp_path: Path) -> None:
        labels = labels[:16]
        refused(
            Masked(), [(BATCHES[0], labels)] * 4, tmp_path, "would go into the module as 'mask'"
        )

    def test_are_not_suspected_where_the_module_needs_two_inputs(self, tmp_path: Path) -> None:
        compress(Two(), [(x, torch.randn(16, 8)) for x in BATCHES], tmp_path)
        compress(Two(), [[x, torch.randint(9, (16, 8))] for x in BATCHES], tmp_path)

    def test_are_not_suspected_in_what_is_not_one_a_sample(self, tmp_path: Path) -> None:
        compress(Several(), [(x, torch.zeros(3)) for x in BATCHES], tmp_path)
        compress(Several(), [(x, 0.5, None, "text") for x in BATCHES], tmp_path)

    def test_are_inputs_if_that_is_said(self, tmp_path: Path) -> None:
        module = Masked()
        named = [{"x": x, "mask": y} for x, y in loader()]
        same(module, tmp_path, named, loader(), inputs=tuple)

    def test_in_keywords_make_a_loss_that_does_not_count(self, tmp_path: Path) -> None:
        module = Classifier()
        with_labels = [{"x": x, "labels": y} for x, y in loader()]
        same(module, tmp_path, [{"x": x} for x in BATCHES], with_labels)
        assert compress(module, with_labels, tmp_path).divergence == "kl"

    def test_in_keywords_that_the_module_does_not_know_are_told(self, tmp_path: Path) -> None:
        batches = [{"input": x, "labels": y} for x, y in loader()]
        message = "rejects calibration batch 0: TypeError.*'labels'.*inputs="
        refused(nn.Linear(8, 5), batches, tmp_path, message)
        same(
            nn.Linear(8, 5), tmp_path, BATCHES, batches, inputs=lambda one: {"input": one["input"]}
        )


class OnDemand(Sequence[Any]):
    """Makes its batches when they are asked for."""

    def __len__(self) -> int:
        return len(BATCHES)

    def __getitem__(self, number: Any) -> Any:
        return BATCHES[number]


def failing() -> Iterator[torch.Tensor]:
    yield BATCHES[0]
    raise OSError("the disk is gone")


class TestBatches:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: list(BATCHES),
            lambda: iter(BATCHES),
            lambda: (x for x in BATCHES),
            lambda: DataLoader(SAMPLES, batch_size=16),
            OnDemand,
            lambda: [(x,) for x in BATCHES],
            lambda: [[x] for x in BATCHES],
            lambda: [{"input": x} for x in BATCHES],
        ],
        ids=["list", "iterator", "generator", "loader", "sequence", "tuples", "lists", "keywords"],
    )
    def test_come_in_many_ways(self, make: Callable[[], Any], tmp_path: Path) -> None:
        same(nn.Linear(8, 5), tmp_path, BATCHES, make())

    def test_of_arrays_need_a_word(self, tmp_path: Path) -> None:
        module, arrays = nn.Linear(8, 5), [x.numpy() for x in BATCHES]
        refused(module, arrays, tmp_path, "batch 0 is of type ndarray: torch.from_numpy")
        same(module, tmp_path, BATCHES, arrays, inputs=torch.from_numpy)

    @pytest.mark.parametrize(
        ("batches", "message"),
        [
            (SAMPLES, "is one batch; give a list"),
            (SAMPLES.numpy(), "is one batch; give a list"),
            ({"input": SAMPLES}, "is one batch; give a list"),
            ("text", "is one batch; give a list"),
            (5, "calibration is of type int; give a list"),
            ([], "no calibration batches"),
            (iter([]), "no calibration batches: .* an iterator is used up"),
            ([BATCHES[0], 5], "batch 1 is of type int: a batch is a tensor"),
            ([BATCHES[0], None], "batch 1 is of type NoneType"),
            ([*BATCHES, "text"], "batch 4 is of type str"),
            ([*BATCHES, SAMPLES[:0]], "batch 4 is empty"),
            ([SAMPLES[:0], *BATCHES], "batch 0 is empty"),
            ([*BATCHES, (SAMPLES[:0],)], "batch 4 is empty"),
            ([()], "rejects calibration batch 0"),
            ([{}], "rejects calibration batch 0"),
            ([BATCHES[0].double()], "rejects calibration batch 0: RuntimeError.*dtype"),
            ([(BATCHES[0].numpy(),)], "rejects calibration batch 0: TypeError.*ndarray"),
            ([BATCHES[0].to("meta")], "calibration batch 0"),
            ([SAMPLES[:, :5]], "rejects calibration batch 0: RuntimeError"),
        ],
    )  # fmt: skip
    def test_that_are_none_are_named(self, batches: Any, message: str, tmp_path: Path) -> None:
        if isinstance(batches, list) and len(batches) > 1:
            # A plan looks at the first batch only.
            with pytest.raises((vc.CalibrationError, ValueError), match=message):
                compress(nn.Linear(8, 5), batches, tmp_path)
            assert list(tmp_path.iterdir()) == []
        else:
            refused(nn.Linear(8, 5), batches, tmp_path, message)

    def test_that_are_held_out_have_their_own_number(self, tmp_path: Path) -> None:
        with pytest.raises(vc.CalibrationError, match="rejects calibration batch 3"):
            compress(nn.Linear(8, 5), [*BATCHES[:3], SAMPLES[:, :5]], tmp_path)

    def test_that_cannot_be_read_are_named(self, tmp_path: Path) -> None:
        message = "reading calibration batch 1 raised OSError: the disk is gone"
        with pytest.raises(vc.CalibrationError, match=message):
            compress(nn.Linear(8, 5), failing(), tmp_path)

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (lambda batch: batch["x"], "inputs fails for calibration batch 0: .*Error"),
            (lambda batch: batch.numpy(), "batch 0 is of type ndarray"),
            (lambda batch: None, "batch 0 is of type NoneType"),
            ("x", "inputs is of type str; give a function"),
        ],
    )
    def test_that_cannot_be_picked_are_named(
        self, inputs: Any, message: str, tmp_path: Path
    ) -> None:
        refused(nn.Linear(8, 5), BATCHES, tmp_path, message, inputs=inputs)

    @given(start=st.integers(-6, 6), stop=st.integers(-6, 6), step=st.integers(-3, 3).filter(bool))
    def test_are_picked_when_asked_for(self, start: int, stop: int, step: int) -> None:
        asked: list[int] = []

        def double(batch: torch.Tensor) -> torch.Tensor:
            asked.append(1)
            return 2 * batch

        found = picked(OnDemand(), double, nn.Linear(8, 5))
        assert len(found) == len(BATCHES) and asked == []
        part = found[start:stop:step]
        expected = [2 * x for x in list(BATCHES)[start:stop:step]]
        assert len(asked) == len(part) == len(expected)
        assert all(torch.equal(one, other) for one, other in zip(part, expected, strict=True))


class TestFleets:
    def test_pick_their_inputs_too(self, tmp_path: Path) -> None:
        base = nn.Linear(8, 5)
        members = [nn.Linear(8, 5) for _ in range(3)]
        for member in members:
            member.load_state_dict(
                {
                    name: one + 0.01 * torch.randn_like(one)
                    for name, one in base.state_dict().items()
                }
            )
        labelled = [(x, torch.zeros(16)) for x in BATCHES]
        options: dict[str, Any] = {"base": base, "out": tmp_path / "p", "progress": silent}
        options |= {"latent": 1, "steps": 10}
        with pytest.raises(
            vc.CalibrationError, match=r"drop them: .*inputs=lambda batch: batch\[0\]"
        ):
            vc.fleet.train(members, calibration=[labelled] * 3, **options)
        with pytest.raises(vc.CalibrationError, match="no calibration batches of member 1"):
            vc.fleet.train(members, calibration=[BATCHES, [], BATCHES], **options)
        report = vc.fleet.train(
            members,
            calibration=vc.Calibration([labelled] * 3, lambda batch: batch[0]),
            **options,
        )
        assert report.divergence_kind == report.to_dict()["divergence_kind"] == "kl"
        files = []
        for batches, inputs in ((BATCHES, None), (iter(labelled), lambda batch: batch[0])):
            member = vc.fleet.compress(
                members[0],
                tmp_path / "m.vaec",
                pack=tmp_path / "p",
                calibration=vc.Calibration(batches, inputs),
                progress=silent,
            )
            assert member.divergence == "kl"
            files.append((tmp_path / "m.vaec").read_bytes())
        assert files[0] == files[1]
        alone = vc.fleet.compress(
            members[0], tmp_path / "m.vaec", pack=tmp_path / "p", progress=silent
        )
        assert alone.divergence is None

    def test_of_other_modules_are_asked_for_their_divergence(self, tmp_path: Path) -> None:
        class Squashed(nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.tanh(super().forward(x))

        base, members = Squashed(8, 5), [Squashed(8, 5) for _ in range(3)]
        options: dict[str, Any] = {"base": base, "out": tmp_path / "p", "progress": silent}
        options |= {"latent": 1, "steps": 2}
        with pytest.raises(vc.CalibrationError, match="divergence='kl'"):
            vc.fleet.train(members, calibration=[BATCHES] * 3, **options)
        calibration = vc.Calibration([BATCHES] * 3, divergence="mse")
        report = vc.fleet.train(members, calibration=calibration, **options)
        assert report.divergence_kind == "mse"


def under_inference(make: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return make()


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 5), nn.LayerNorm(5), nn.Linear(5, 8), nn.Linear(8, 5))
    module[3].weight = module[0].weight
    return module


def with_orthogonal() -> nn.Module:
    return nn.utils.parametrizations.orthogonal(nn.Linear(8, 5))


def recurrent() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.LSTM(6, 5))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Linear(8, 5),
    "inference mode": lambda: under_inference(recurrent),
    "inference mode, tied": lambda: under_inference(tied),
    "frozen": lambda: recurrent().requires_grad_(False),
    "training": lambda: recurrent().train(),
    "evaluation": lambda: recurrent().eval(),
    "tied": tied,
    "float64": lambda: recurrent().double(),
    "bfloat16": lambda: recurrent().bfloat16(),
    "float16": lambda: tied().half(),
    "parametrized": with_orthogonal,
    "parallel": lambda: nn.DataParallel(tied()),
    "compiled": lambda: torch.compile(tied()),
    "lazy once": lambda: nn.Sequential(nn.LazyLinear(5)),
}


def state_of(module: nn.Module) -> tuple[Any, ...]:
    """The very tensors, their bits and their flags, and all that the modules hold."""
    tensors = module.state_dict(keep_vars=True)
    bits = {
        name: one.detach().clone().contiguous().view(-1).view(torch.uint8).tolist()
        for name, one in tensors.items()
    }
    flags = {name: (id(one), one.data_ptr(), one.requires_grad) for name, one in tensors.items()}
    parts = [(part.training, sorted(vars(part))) for part in module.modules()]
    return bits, flags, parts, [one.grad for one in module.parameters()]


class TestModules:
    @pytest.mark.parametrize("inference", [False, True], ids=["", "called in inference mode"])
    @pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
    def test_are_as_they_were(
        self, make: Callable[[], nn.Module], inference: bool, tmp_path: Path
    ) -> None:
        module = make()
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.LazyLinear):
            module(SAMPLES)
        dtype = next(module.parameters()).dtype
        batches = [x.to(dtype) for x in BATCHES]
        before = state_of(module)
        with torch.inference_mode(inference):
            report = compress(module, batches, tmp_path)
        assert report.divergence in ("kl", "mse")
        assert state_of(module) == before
        decoded = vc.decode(tmp_path / "m.vaec")
        assert list(decoded) == list(module.state_dict())

    @pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
    def test_are_scored(self, make: Callable[[], nn.Module], tmp_path: Path) -> None:
        module = make().eval()
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.LazyLinear):
            module(SAMPLES)
        dtype = next(module.parameters()).dtype
        seen: list[float] = []

        def evaluate(candidate: nn.Module) -> float:
            assert candidate is module
            weight = next(candidate.parameters())
            seen.append(float(weight.detach().float().sum()))
            return -abs(seen[-1] - seen[0])

        before = state_of(module)
        report = compress(
            module,
            [x.to(dtype) for x in BATCHES],
            tmp_path,
            evaluate=evaluate,
            quantizer="uniform",
        )
        assert report.score is not None and len(set(seen)) > 1
        assert state_of(module) == before

    def test_batches_of_inference_mode_are_taken(self, tmp_path: Path) -> None:
        batches = under_inference(lambda: [x.clone() for x in BATCHES])
        assert batches[0].is_inference()
        same(recurrent(), tmp_path, BATCHES, batches)
        same(Masked(), tmp_path, BATCHES, [{"x": x} for x in batches])

    def test_without_values_are_told(self, tmp_path: Path) -> None:
        module = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 5, device="meta"))
        with pytest.raises(vc.WeightsError, match=r"1\.weight"):
            compress(module, BATCHES, tmp_path)

    def test_are_as_they_were_after_an_error(self, tmp_path: Path) -> None:
        module = under_inference(recurrent)
        before = state_of(module)
        with pytest.raises(vc.CalibrationError, match="batch 2"):
            compress(module, [*BATCHES[:2], SAMPLES[:, :5], BATCHES[3]], tmp_path)
        assert state_of(module) == before
