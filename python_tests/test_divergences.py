"""Which divergence a module's outputs get, and nested outputs, of which every number counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import vaecomp_native as vc  # noqa: E402
from vaecomp_native.calibration.detection import measure_for  # noqa: E402
from vaecomp_native.calibration.divergence import (  # noqa: E402
    Measure,
    divergence,
)
from vaecomp_native.calibration.interception import find_linear_maps  # noqa: E402
from vaecomp_native.calibration.outputs import outputs_of  # noqa: E402
from vaecomp_native.calibration.running import run  # noqa: E402
from vaecomp_native.compression.curve import rate_distortion  # noqa: E402
from vaecomp_native.progress import silent  # noqa: E402

from .measured import sensitivities  # noqa: E402

VECTORS, SEQUENCES, IMAGES = (4, 8), (3, 6, 8), (2, 3, 8, 8)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Then(nn.Module):
    """A layer, and a function of what it gives."""

    def __init__(self, layer: nn.Module, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer = layer
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.layer(x))


class Squashed(nn.Linear):
    """A layer that goes on after what its class does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(super().forward(x))


class RootNorm(nn.Module):
    """A norm as model libraries write their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def linear(width: int = 5) -> nn.Module:
    return nn.Linear(8, width)


def after_linear(layer: nn.Module) -> nn.Module:
    return nn.Sequential(linear(), layer)


def named(**outputs: Callable[[torch.Tensor], Any]) -> nn.Module:
    return Then(linear(), lambda y: {name: make(y) for name, make in outputs.items()})


def itself(y: torch.Tensor) -> torch.Tensor:
    return y


def transformer(norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


KL: list[tuple[str, nn.Module, tuple[int, ...], int | None]] = [
    ("linear", linear(), VECTORS, -1),
    ("linear in sequences", linear(), SEQUENCES, -1),
    ("linear with axes", linear(), (2, 3, 4, 8), -1),
    ("linear, parametrized", nn.utils.parametrizations.weight_norm(linear()), VECTORS, -1),
    ("bias of its own", nn.Sequential(nn.ReLU(), linear()), VECTORS, -1),
    ("dropout behind", after_linear(nn.Dropout()), VECTORS, -1),
    ("identity behind", after_linear(nn.Identity()), VECTORS, -1),
    ("parallel", nn.DataParallel(linear()), VECTORS, -1),
    ("convolution", nn.Conv2d(3, 5, 3), IMAGES, -3),
    ("convolution of sequences", nn.Conv1d(6, 5, 3), SEQUENCES, -2),
    ("one image", nn.Conv2d(3, 5, 3), IMAGES[1:], -3),
    ("transposed convolution", nn.ConvTranspose2d(3, 5, 2), IMAGES, -3),
    ("narrow convolution", nn.Conv2d(3, 5, (3, 8)), IMAGES, -3),
    ("log-softmax", after_linear(nn.LogSoftmax(-1)), VECTORS, -1),
    ("log-softmax as function", Then(linear(), lambda y: y.log_softmax(-1)), VECTORS, -1),
    ("log-softmax of pixels", Then(nn.Conv2d(3, 5, 3), lambda y: y.log_softmax(1)), IMAGES, 1),
    ("logits", named(logits=lambda y: 2 * y), VECTORS, None),
    ("logits and a loss", named(loss=torch.sum, logits=lambda y: 2 * y), VECTORS, None),
    (
        "logits and what is hidden",
        named(logits=itself, hidden_states=lambda y: (y, y), past_key_values=lambda y: ((y, y),)),
        VECTORS,
        -1,
    ),
    ("logits of several", named(start_logits=itself, logits_per_image=torch.exp), VECTORS, None),
]

MSE: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("one number", linear(1), VECTORS),
    ("one number called logits", Then(linear(1), lambda y: {"logits": y}), VECTORS),
    ("one number after a function", Then(linear(1), torch.exp), VECTORS),
    ("one map", nn.Conv2d(3, 1, 3), IMAGES),
    *(
        (type(layer).__name__, after_linear(layer), VECTORS)
        for layer in (
            nn.ReLU(inplace=True),
            nn.GELU(),
            nn.Tanh(),
            nn.Sigmoid(),
            nn.LayerNorm(5),
            nn.RMSNorm(5),
            nn.BatchNorm1d(5),
            RootNorm(5),
        )
    ),
    ("group norm", nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), IMAGES),
    ("recurrent", nn.LSTM(8, 5, batch_first=True), SEQUENCES),
    ("recurrent, its outputs", Then(nn.GRU(8, 5), lambda results: results[0]), SEQUENCES),
    ("encoder", transformer(norm_first=False), SEQUENCES),
    ("hidden states", named(last_hidden_state=itself), VECTORS),
    ("hidden states and pooled", named(last_hidden_state=itself, pooler_output=itself), VECTORS),
    ("embeddings", named(image_embeds=torch.exp), VECTORS),
    ("logits and boxes", named(logits=itself, pred_boxes=torch.sigmoid), VECTORS),
    ("several", Then(linear(), lambda y: (y, y.exp())), VECTORS),
    ("samples", Then(linear(), lambda y: [{"scores": one} for one in y]), VECTORS),
    ("complex", Then(linear(), torch.fft.fft), VECTORS),
]

UNCLEAR: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("subclass of a layer", Squashed(8, 5), VECTORS),
    ("activation as function", Then(linear(), torch.relu), VECTORS),
    ("activation in place", Then(linear(), torch.relu_), VECTORS),
    ("quantized", Then(linear(), lambda y: y + 1), VECTORS),
    ("encoder without a norm", transformer(norm_first=True), SEQUENCES),
    ("squeezed", Then(linear(1), lambda y: y.squeeze(-1)), VECTORS),
    ("pixels after a function", Then(nn.Conv2d(3, 5, 3), torch.exp), IMAGES),
    ("reconstruction", nn.Sequential(linear(), nn.Linear(5, 8)), VECTORS),
    ("reconstructed image", nn.Conv2d(3, 3, 3, padding=1), IMAGES),
]


class TestDetection:
    @pytest.mark.parametrize(
        ("module", "shape", "axis"), [row[1:] for row in KL], ids=[r[0] for r in KL]
    )
    def test_logits(self, module: nn.Module, shape: tuple[int, ...], axis: int | None) -> None:
        assert measure_for(module, torch.randn(shape)) == Measure("kl", axis)

    @pytest.mark.parametrize(("module", "shape"), [row[1:] for row in MSE], ids=[r[0] for r in MSE])
    def test_other_numbers(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        assert measure_for(module, torch.randn(shape)) == Measure("mse")

    @pytest.mark.parametrize(
        ("module", "shape"), [row[1:] for row in UNCLEAR], ids=[r[0] for r in UNCLEAR]
    )
    def test_what_is_unclear_is_asked(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        batch = torch.randn(shape)
        with pytest.raises(
            vc.CalibrationError, match=r"give Calibration\(batches, divergence='kl'\) .* or 'mse'"
        ) as caught:
            measure_for(module, batch)
        assert "\n" not in str(caught.value)
        assert measure_for(module, batch, "mse") == Measure("mse")

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("divergence", ["auto", "kl"])
    def test_probabilities(self, divergence: str, dtype: torch.dtype) -> None:
        images = torch.randn(IMAGES, dtype=dtype)
        pixels = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Softmax(1)).to(dtype)
        assert measure_for(pixels, images, divergence) == Measure("kl", 1, probabilities=True)
        vectors = after_linear(nn.Softmax(-1)).to(dtype)
        found = measure_for(vectors, torch.randn(VECTORS, dtype=dtype), divergence)
        assert found == Measure("kl", -1, probabilities=True)

    @pytest.mark.parametrize(
        ("module", "shape", "axis"), [row[1:] for row in KL], ids=[r[0] for r in KL]
    )
    def test_kl_asked_for_finds_the_same_axis(
        self, module: nn.Module, shape: tuple[int, ...], axis: int | None
    ) -> None:
        assert measure_for(module, torch.randn(shape), "kl") == Measure("kl", axis)

    def test_kl_of_one_class_or_of_complex_numbers_is_refused(self) -> None:
        for module in (linear(1), Then(linear(1), lambda y: {"logits": y}), nn.Conv2d(8, 1, 1)):
            shape = (2, 8, 3, 3) if isinstance(module, nn.Conv2d) else VECTORS
            with pytest.raises(vc.CalibrationError, match="always be 0; use divergence='mse'"):
                measure_for(module, torch.randn(shape), "kl")
        with pytest.raises(vc.CalibrationError, match="complex"):
            measure_for(Then(linear(), torch.fft.fft), torch.randn(VECTORS), "kl")

    def test_no_other_names(self) -> None:
        with pytest.raises(ValueError, match="divergence is 'js'"):
            measure_for(linear(), torch.randn(VECTORS), "js")

    def test_leaves_the_module_as_it_was(self) -> None:
        module = after_linear(nn.BatchNorm1d(5)).train()
        before = {name: one.clone() for name, one in module.state_dict().items()}
        attributes = [sorted(vars(part)) for part in module.modules()]
        measure_for(module, torch.randn(VECTORS))
        assert all(part.training and not part._forward_hooks for part in module.modules())
        assert [sorted(vars(part)) for part in module.modules()] == attributes
        assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


def compress(module: nn.Module, batches: Any, path: Path, **options: Any) -> vc.CompressionReport:
    chosen = {name: options.pop(name) for name in ("inputs", "divergence") if name in options}
    calibration = vc.Calibration(batches, **chosen)
    options = {"codec": "quantized", "rate_weight": 1e-4, **options}
    return vc.compress(module, path / "m.vaec", calibration=calibration, **options)


class TestReports:
    def test_say_which_divergence_was_used(self, tmp_path: Path) -> None:
        batches = [torch.randn(16, 8) for _ in range(4)]
        for module, kind in ((linear(), "kl"), (after_linear(nn.Tanh()), "mse")):
            report = compress(module, batches, tmp_path)
            assert report.divergence == report.to_dict()["divergence"] == kind
            planned = vc.plan(module, calibration=batches)
            assert planned.divergence == planned.to_dict()["divergence"] == kind
            asked = compress(module, batches, tmp_path, divergence="mse")
            assert asked.divergence == "mse"

    @pytest.mark.parametrize("options", [{}, {"codec": "lossless"}, {"evaluate": lambda _: 0.0}])
    def test_say_so_if_none_was(self, options: dict[str, Any], tmp_path: Path) -> None:
        module = Then(linear(), torch.relu)
        report = vc.compress(module, tmp_path / "m.vaec", progress=silent, **options)
        assert report.divergence is None
        assert vc.plan(module, **options).divergence is None

    def test_codecs_that_do_not_measure_ask_nothing(self, tmp_path: Path) -> None:
        batches = [torch.randn(16, 8) for _ in range(4)]
        module = Then(linear(), torch.relu)
        for codec in ("lossless", "raw"):
            report = vc.compress(module, tmp_path / "m.vaec", codec=codec, calibration=batches)
            assert report.divergence is None
        with pytest.raises(vc.CalibrationError, match="divergence='kl'"):
            vc.compress(module, tmp_path / "none.vaec", calibration=batches)
        assert not (tmp_path / "none.vaec").exists()

    def test_curves_ask_and_take_the_answer(self) -> None:
        module = Then(linear(), torch.relu)
        batches = [(torch.randn(16, 8), torch.zeros(16)) for _ in range(4)]
        options: dict[str, Any] = {"evaluate": lambda _: 0.0, "rate_weights": [0.01]}
        with pytest.raises(vc.CalibrationError, match="drop them"):
            rate_distortion(module, calibration=batches, **options)
        options["calibration"] = vc.Calibration(batches, lambda batch: batch[0])
        with pytest.raises(vc.CalibrationError, match="divergence='kl'"):
            rate_distortion(module, **options)
        options["calibration"] = vc.Calibration(batches, lambda batch: batch[0], "mse")
        assert len(rate_distortion(module, **options)) == 1


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Result:
    boxes: Any
    note: str = "a note"


@dataclasses.dataclass(slots=True)
class Slots:
    x: Any


class Plain:
    def __init__(self, **parts: Any) -> None:
        self.itself = self
        self._private = torch.zeros(9)
        vars(self).update(parts)


class Distribution:
    def __init__(self, logits: torch.Tensor) -> None:
        self._kept = logits

    @property
    def logits(self) -> torch.Tensor:
        return self._kept


class TestNestedOutputs:
    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (lambda x: x, {"": 1}),
            (lambda x: (x, {"y": x}), {"0": 1, "y": 1}),
            (lambda x: {"y": {"z": (x, None, x)}}, {"y.z.0": 1, "y.z.2": 1}),
            (lambda x: [{"boxes": x, "labels": x.long()}, {"boxes": x}], {"boxes": 2}),
            (lambda x: [Result(x), Result(x)], {"boxes": 2}),
            (lambda x: Pair(x, Slots(x)), {"first": 1, "second.x": 1}),
            (lambda x: Plain(a=x, b=[x, x]), {"a": 1, "b.0": 1, "b.1": 1}),
            (Distribution, {"logits": 1}),
            (lambda x: {"loss": x, "y": x}, {"y": 1}),
            (lambda x: {"loss": x}, {"loss": 1}),
            (lambda x: {"y": x, "past_key_values": Plain(keys=x)}, {"y": 1}),
            (lambda x: torch.nested.nested_tensor([x, x[:1]], layout=torch.jagged), {"": 2}),
            (lambda x: x.to_sparse(), {"": 1}),
            (lambda x: torch.complex(x, x), {"": 1}),
        ],
    )
    def test_all_floating_point_tensors_are_found(
        self, make: Callable[[torch.Tensor], Any], expected: dict[str, int]
    ) -> None:
        x = torch.randn(2, 3)
        found = run(Then(nn.Identity(), make), x)
        assert {name: len(output) for name, output in found.items()} == expected
        assert {one.dtype for output in found.values() for one in output} <= {
            torch.float32,
            torch.complex64,
        }

    @pytest.mark.parametrize("make", [torch.Tensor.long, lambda x: None, lambda x: {"a": [1, "b"]}])
    def test_nothing_floating_is_refused(self, make: Callable[[torch.Tensor], Any]) -> None:
        with pytest.raises(vc.CalibrationError, match="no floating-point output"):
            run(Then(nn.Identity(), make), torch.ones(2))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, complex(0, math.inf)])
    def test_numbers_that_are_not_finite_are_found_wherever_they_are(self, bad: complex) -> None:
        module = Then(nn.Identity(), lambda x: (x, [{"z": x + bad}]))
        with pytest.raises(vc.CalibrationError, match="batch 0 is not finite"):
            run(module, torch.ones(2))

    def test_every_output_moves_its_weights(self, tmp_path: Path) -> None:
        """Calibration warns of no tensor, and none is much coarser than the others."""

        class Heads(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = (nn.Linear(8, 30) for _ in range(3))

            def forward(self, x: torch.Tensor) -> Any:
                return [{"a": self.a(x)}], Plain(b=1e-3 * self.b(x), c=torch.fft.fft(self.c(x)))

        module, batches = Heads(), [torch.randn(16, 8) for _ in range(4)]
        report = compress(module, batches, tmp_path)
        assert report.divergence == "mse"
        decoded = vc.decode(tmp_path / "m.vaec")
        errors = {
            name: float((torch.from_numpy(decoded[name]) - one).square().mean() / one.var())
            for name, one in module.state_dict().items()
            if one.dim() == 2
        }
        # Outputs count relative to their own variance, however small they are.
        assert max(errors.values()) < 30 * min(errors.values())


@st.composite
def results(draw: st.DrawFn) -> list[dict[str, torch.Tensor]]:
    """What a detection model may give: samples of as many boxes as it likes, also none."""
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    seed = draw(st.integers(0, 99))
    random = torch.Generator().manual_seed(seed)
    return [
        {
            "boxes": 99 * torch.rand(count, 4, generator=random),
            "scores": torch.rand(count, generator=random),
        }
        for count in counts
    ]


class TestDivergence:
    @given(now=results(), before=results())
    def test_results_of_any_shapes_can_be_compared(self, now: Any, before: Any) -> None:
        one, other = outputs_of(now), outputs_of(before)
        distance = float(divergence(one, other, Measure("mse")))
        assert math.isfinite(distance) and distance >= 0
        assert float(divergence(other, other, Measure("mse"))) == 0
        # What samples have under one name is one output, so that samples without boxes add nothing.
        same = all(
            torch.equal(*(torch.cat([sample[name] for sample in part]) for part in (now, before)))
            for name in ("boxes", "scores")
        )
        empty = not any(len(one["scores"]) for one in now + before)
        assert same or empty or distance > 0

    def test_what_one_side_has_alone_is_compared_with_zeros(self) -> None:
        before = {"": [torch.tensor([1.0, 2.0, 3.0])]}
        shorter = {"": [torch.tensor([1.0, 2.0])]}
        longer = {"": [torch.tensor([1.0, 2.0, 3.0, 4.0])]}
        variance = 2 / 3
        measure = Measure("mse")
        assert float(divergence(shorter, before, measure)) == pytest.approx(9 / 3 / variance)
        assert float(divergence(longer, before, measure)) == pytest.approx(16 / 4 / variance)
        assert float(divergence({}, before, measure)) == pytest.approx(14 / 3 / variance)

    def test_outputs_count_alike_whatever_their_size(self) -> None:
        small, large = torch.randn(50), 1000 * torch.randn(7)
        before = {"a": [small], "b": [large]}
        one = {"a": [small + small.std(correction=0)], "b": [large]}
        other = {"a": [small], "b": [large + large.std(correction=0)]}
        for now in (one, other):
            assert float(divergence(now, before, Measure("mse"))) == pytest.approx(0.5, rel=1e-4)

    @pytest.mark.parametrize("value", [0.0, 3.0])
    def test_equal_numbers_are_compared_by_their_size(self, value: float) -> None:
        before = {"": [torch.full((1, 1), value)]}
        now = {"": [torch.full((1, 1), value + 1)]}
        expected = 1 / (value**2 or 1)
        assert float(divergence(now, before, Measure("mse"))) == pytest.approx(expected)

    def test_both_parts_of_complex_numbers_count(self) -> None:
        real, imaginary = torch.randn(20), torch.randn(20)
        before = {"": [torch.complex(real, imaginary)]}
        moved = [torch.complex(real + 1, imaginary), torch.complex(real, imaginary + 1)]
        distances = [float(divergence({"": [one]}, before, Measure("mse"))) for one in moved]
        assert distances[0] > 0 and distances[0] == pytest.approx(distances[1])

    @pytest.mark.parametrize("shape", [(4, 5), (2, 6, 5), (2, 5, 3, 4), (2, 5, 3, 4, 2)])
    def test_kl_is_of_the_classes(self, shape: tuple[int, ...]) -> None:
        axis = 1 if len(shape) > 3 else -1
        before, now = torch.randn(2, *shape)
        logs = now.log_softmax(axis), before.log_softmax(axis)
        expected = float((logs[1].exp() * (logs[1] - logs[0])).sum(axis).mean())
        for names in ((), ("hidden_states",)):
            name = "logits" if names else ""
            extra = {one: [torch.randn(3)] for one in names}
            found = divergence({name: [now], **extra}, {name: [before], **extra}, Measure("kl"))
            assert float(found) == pytest.approx(expected, rel=1e-4)
        chances = {"": [now.softmax(axis)]}, {"": [before.softmax(axis)]}
        measure = Measure("kl", axis, probabilities=True)
        assert float(divergence(*chances, measure)) == pytest.approx(expected, rel=1e-3)


class TestEndToEnd:
    @pytest.mark.parametrize(
        "module",
        [
            after_linear(nn.Softmax(-1)),
            after_linear(nn.LogSoftmax(-1)),
            linear(1),
            after_linear(nn.Tanh()),
            Then(linear(), lambda y: {"start_logits": y, "end_logits": 2 * y}),
            nn.LSTM(8, 5, batch_first=True),
        ],
    )
    def test_calibration_works_with_every_kind(self, module: nn.Module, tmp_path: Path) -> None:
        batches = [torch.randn(16, 8) for _ in range(4)]
        compress(module, batches, tmp_path)
        decoded = vc.decode(tmp_path / "m.vaec")
        state = {name: torch.from_numpy(decoded[name].copy()) for name in module.state_dict()}
        with torch.no_grad():
            before = run(module, batches[0])
        with torch.no_grad():
            now = outputs_of(torch.func.functional_call(module, state, batches[0]))
        assert 0 < float(divergence(now, before, measure_for(module, batches[0]))) < 0.05

    def test_classes_of_pixels_are_those_that_count(self) -> None:
        """What shifts all classes of a pixel alike costs nothing."""

        class Segmentation(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.shared = nn.Conv2d(3, 1, 3)
                self.classes = nn.Conv2d(3, 6, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.classes(x) + self.shared(x)

        module, batches = Segmentation(), [torch.randn(IMAGES) for _ in range(4)]
        maps = find_linear_maps(module, batches[0])
        found = sensitivities(module, batches, maps, divergence="kl")
        assert found["shared"].rows.max() < 1e-9 * found["classes"].rows.min()


torchvision = pytest.importorskip("torchvision")

from torchvision.models.detection import FasterRCNN, RetinaNet  # noqa: E402
from torchvision.models.detection.anchor_utils import (  # noqa: E402
    AnchorGenerator,
    DefaultBoxGenerator,
)
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead  # noqa: E402
from torchvision.models.detection.ssd import SSD  # noqa: E402
from torchvision.ops import MultiScaleRoIAlign  # noqa: E402


def backbone(channels: Any = 4) -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.ReLU())
    layers.out_channels = channels
    return layers


def anchors() -> nn.Module:
    return AnchorGenerator(((8, 16),), ((1.0,),))


def faster_rcnn() -> nn.Module:
    return FasterRCNN(
        backbone(),
        min_size=32,
        max_size=40,
        rpn_anchor_generator=anchors(),
        box_roi_pool=MultiScaleRoIAlign(["0"], 2, 2),
        box_head=TwoMLPHead(16, 8),
        box_predictor=FastRCNNPredictor(8, 3),
        box_score_thresh=0.3,
        rpn_post_nms_top_n_test=12,
    )


def retina_net() -> nn.Module:
    options = {"min_size": 32, "max_size": 40, "score_thresh": 0.01, "detections_per_img": 9}
    module = RetinaNet(backbone(), 3, anchor_generator=anchors(), **options)
    nn.init.zeros_(module.head.classification_head.cls_logits.bias)
    return module


def ssd() -> nn.Module:
    return SSD(backbone([4]), DefaultBoxGenerator([[2]]), (32, 32), 3, score_thresh=0.3)


class TestDetectionModels:
    # Proposals carry no gradient.
    @pytest.mark.filterwarnings(r"ignore:calibration never uses rpn\.")
    @pytest.mark.parametrize(
        ("make", "quantizer"),
        [(faster_rcnn, "feedback"), (retina_net, "uniform"), (ssd, "feedback")],
    )
    def test_are_calibrated_whatever_they_find(
        self, make: Callable[[], nn.Module], quantizer: str, tmp_path: Path
    ) -> None:
        module = make()
        images = [[torch.rand(3, 32, 40), torch.rand(3, 32, 32)] for _ in range(4)]
        before = {name: one.clone() for name, one in module.state_dict().items()}
        report = compress(
            module, images, tmp_path, quantizer=quantizer, inputs=lambda batch: (batch,)
        )
        assert report.divergence == "mse" and module.training
        assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())

    def test_their_targets_are_labels(self, tmp_path: Path) -> None:
        target = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.ones(1).long()}
        batches = [([torch.rand(3, 32, 40)], [target])] * 4
        with pytest.raises(
            vc.CalibrationError, match=r"'targets'.*inputs=lambda batch: batch\[0\]"
        ):
            compress(faster_rcnn(), batches, tmp_path)

    def test_that_find_nothing_at_all_are_told(self, tmp_path: Path) -> None:
        module = faster_rcnn()
        module.roi_heads.score_thresh = 1.0
        with pytest.raises(vc.CalibrationError, match="outputs are empty for all"):
            compress(module, [([torch.rand(3, 32, 40)],)] * 4, tmp_path)
