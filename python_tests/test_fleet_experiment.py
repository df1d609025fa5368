"""Personal fine-tunes, the codecs that fleets are compared with, and the fleet experiment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import vaecomp_native as vc
from vaecomp_native.accounting import cheaper_from
from vaecomp_native.evaluation import bitdelta, nncodec
from vaecomp_native.evaluation.differences import differences_module
from vaecomp_native.experiments import fleet
from vaecomp_native.experiments.member_codecs import (
    Difference,
    PackSetting,
    StoredBase,
    residuals,
)
from vaecomp_native.experiments.personal_fleet import Examination, Fleet, make_fleet
from vaecomp_native.progress import silent
from vaecomp_native.zoo import personal
from vaecomp_native.zoo.keyed import load_state
from vaecomp_native.zoo.mnist import Digits, MnistData, load_bundled
from vaecomp_native.zoo.networks import build
from vaecomp_native.zoo.personal import FineTuning, Geometry, Users

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

with_nncodec = pytest.mark.skipif(not nncodec.installed(), reason="nncodec is not installed")

QUICK = FineTuning(epochs=1)
COUNTS = (3, 1, 2)


@pytest.fixture(scope="module")
def data() -> MnistData:
    """The bundled digits with so few for training that nothing takes long."""
    full = load_bundled()
    return replace(full, train=Digits(full.train.images[:600], full.train.labels[:600]))


@pytest.fixture(scope="module")
def users(data: MnistData) -> Users:
    return Users(data, digits=200, seed=3)


@pytest.fixture(scope="module")
def base() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build("cnn").state_dict()


def test_a_geometry_turns_scales_and_shifts_images_on_their_background() -> None:
    images = torch.full((2, 28, 28), personal.BACKGROUND)
    images[:, 14, 20:24] = 2.0
    assert torch.allclose(Geometry(0.0, 1.0, 0.0, 0.0).apply(images), images, atol=1e-5)
    # Half an image is 14 pixels: the shift says where in the original a pixel comes from.
    moved = Geometry(0.0, 1.0, 2 / 14, 0.0).apply(images)
    assert torch.allclose(moved[:, :, :-2], images[:, :, 2:], atol=1e-4)
    turned = Geometry(np.pi / 2, 1.0, 0.0, 0.0).apply(images)
    rows, columns = (turned[0] > 1).nonzero(as_tuple=True)
    assert len(set(columns.tolist())) == 1 and len(set(rows.tolist())) == 4
    smaller = Geometry(0.0, 0.5, 0.0, 0.0).apply(images)
    assert (smaller[0] > 0).sum() <= 4
    assert torch.allclose(smaller[0, 0], torch.full((28,), personal.BACKGROUND), atol=1e-5)


def test_users_depend_on_seed_and_number_alone_and_parts_do_not_mix(data: MnistData) -> None:
    users = Users(data, digits=200, seed=3)
    again = Users(data, digits=200, seed=3).user(7)
    assert users.user(7).geometry == again.geometry
    assert torch.equal(users.user(7).train, again.train)
    assert users.user(8).geometry != again.geometry
    assert Users(data, digits=200, seed=4).user(7).geometry != again.geometry
    for number in range(20):
        user = users.user(number)
        assert abs(user.geometry.angle) <= 1.2
        assert 0.7 <= user.geometry.scale <= 1.2
        assert max(abs(user.geometry.right), abs(user.geometry.down)) <= 0.15
        assert len(user.train) == 200 == len(user.train.unique())
    part = users.test(7)
    assert torch.equal(part.labels, data.test.labels[again.test])
    assert torch.equal(part.images, again.geometry.apply(data.test.images[again.test]))
    assert torch.equal(users.validation(7).labels, data.validation.labels[again.validation])


def test_calibration_batches_are_the_training_images_made_when_asked_for(users: Users) -> None:
    batches = users.calibration(1, batches=5, batch=32)
    assert [len(batch) for batch in batches] == [32] * 5
    assert torch.allclose(torch.cat(list(batches)), users.train(1).images[:160], atol=1e-6)
    assert torch.equal(batches[-1], list(batches)[4])
    assert [batch.shape for batch in batches[1:3]] == [(32, 28, 28)] * 2


def _states(paths: list[Path]) -> list[dict[str, torch.Tensor]]:
    return [load_state(path) for path in paths]


def _same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_members_are_the_same_with_any_number_of_processes(
    users: Users, base: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    alone = personal.members(users, base, range(3), tmp_path / "1", settings=QUICK)
    seen: list[tuple[int, int]] = []
    together = personal.members(
        users,
        base,
        range(3),
        tmp_path / "2",
        settings=QUICK,
        workers=2,
        progress=lambda stage, done, total, metrics: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert all(map(_same, _states(alone), _states(together)))
    assert not _same(*_states(alone)[:2])


def test_members_go_on_after_an_interruption(
    users: Users, base: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def interrupt(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        personal.members(users, base, range(4), tmp_path, settings=QUICK, progress=interrupt)
    assert len(list(tmp_path.iterdir())) == 2
    seen: list[int] = []
    personal.members(
        users,
        base,
        range(4),
        tmp_path,
        settings=QUICK,
        progress=lambda s, done, t, m: seen.append(done),
    )
    assert seen == [3, 4]


def test_members_that_are_damaged_or_made_otherwise_are_made_anew(
    users: Users, base: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def made(**options: Any) -> int:
        seen: list[int] = []
        options = {"users": users, "base": base, "settings": QUICK, **options}
        personal.members(
            options["users"],
            options["base"],
            [5],
            tmp_path,
            settings=options["settings"],
            progress=lambda s, done, t, m: seen.append(done),
        )
        return len(seen)

    assert made() == 1
    assert made() == 0
    path = tmp_path / "member-0005.safetensors"
    intact, state = path.read_bytes(), load_state(path)
    for damaged in (b"", intact[:-1], intact[:-100] + bytes([intact[-100] ^ 1]) + intact[-99:]):
        path.write_bytes(damaged)
        assert made() == 1
        assert _same(load_state(path), state)
    assert made(settings=FineTuning(epochs=1, learning_rate=2e-3)) == 1
    assert made(users=Users(users.data, digits=150, seed=3)) == 1
    assert made(base={name: tensor + 0.01 for name, tensor in base.items()}) == 1


Arrays = dict[str, np.ndarray]


@pytest.fixture
def pair() -> tuple[Arrays, Arrays]:
    """A model and its base; one row of the matrix is the same in both."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    base = {"weight": normal(60, 50), "bias": normal(60), "kernel": normal(4, 3, 3, 3)}
    arrays = {name: array + 0.05 * normal(*array.shape) for name, array in base.items()}
    arrays["weight"][7] = base["weight"][7]
    return arrays, base


def test_one_bit_differences_are_a_scale_times_signs(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    data = bitdelta.encode(arrays, base)
    decoded = bitdelta.decode(data, base)
    assert list(decoded) == list(base)
    for name in ("weight", "kernel"):
        difference = arrays[name] - base[name]
        changed = difference != 0
        scale = np.abs(difference[changed]).mean()
        expected = np.where(changed, scale * np.sign(difference), 0)
        assert np.allclose(decoded[name] - base[name], expected, rtol=1e-2, atol=1e-6)
    assert np.array_equal(decoded["weight"][7], base["weight"][7])
    assert np.allclose(decoded["bias"], arrays["bias"], atol=1e-4)
    # One byte, two scales and a vector of two bytes each, a bit a row and a bit a sign.
    assert len(data) == 1 + 2 * (2 + 60) + 8 + -(-(59 * 50 + 108) // 8)


def test_signs_that_are_mostly_the_same_take_less_than_a_bit(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    arrays = {**arrays, "weight": base["weight"] + np.float32(0.03)}
    arrays["weight"][3, 4] -= np.float32(0.06)
    data = bitdelta.encode(arrays, base)
    assert len(data) < 1 + 2 * 62 + 8 + 3108 // 8
    assert np.allclose(bitdelta.decode(data, base)["weight"], arrays["weight"], atol=1e-4)


def test_a_model_without_any_difference_has_no_signs(pair: tuple[Arrays, Arrays]) -> None:
    _, base = pair
    decoded = bitdelta.decode(bitdelta.encode(base, base), base)
    assert all(np.array_equal(decoded[name], base[name]) for name in base)


def test_distilled_scales_bring_the_outputs_closer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 10))
        # Only half of the inputs are ever used, and only their weights differ much: what the mean
        # over all weights says is too little for them.
        used = torch.arange(20) < 10
        batches = list(torch.randn(8, 64, 20) * used)
        tuned = {name: t.clone() for name, t in module.state_dict().items()}
        signs = torch.randn(40, 20).sign()
        tuned["0.weight"] += signs * torch.where(used, 0.1, 0.01)
        tuned["2.weight"] += 0.01 * torch.randn(10, 40).sign()
    base = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    arrays = {name: tensor.numpy() for name, tensor in tuned.items()}

    def error(scales: Mapping[str, float]) -> float:
        decoded = bitdelta.decode(bitdelta.encode(arrays, base, scales), base)
        weights = {name: torch.from_numpy(array) for name, array in decoded.items()}
        call = torch.func.functional_call
        return sum(
            float((call(module, weights, (b,)) - call(module, tuned, (b,))).square().mean())
            for b in batches
        )

    mean = bitdelta.mean_scales(arrays, base)
    distilled = bitdelta.distilled_scales(module, arrays, base, batches, learning_rate=1e-3)
    assert distilled.keys() == mean.keys()
    assert error(distilled) < 0.5 * error(mean)
    assert all(np.array_equal(module.state_dict()[name], array) for name, array in base.items())


@with_nncodec
def test_an_update_gives_back_the_model_within_its_step(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    arrays["kernel"] = base["kernel"].copy()
    stream = nncodec.encode_update(arrays, base, -32)
    decoded = nncodec.decode_update(stream, base)
    assert list(decoded) == list(base)
    assert all(np.abs(decoded[name] - arrays[name]).max() <= 2.0**-7 for name in base)
    assert np.array_equal(decoded["kernel"], base["kernel"])
    assert len(stream) < len(nncodec.encode(arrays, -32))
    assert len(nncodec.encode_update(arrays, base, -20)) < len(stream)


def test_a_module_of_differences_computes_the_same(base: dict[str, torch.Tensor]) -> None:
    under = personal.build_with(base)
    member = personal.build_with({name: 1.1 * tensor + 0.01 for name, tensor in base.items()})
    module = differences_module(member, under)
    images = torch.randn(4, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(module(images), member(images), atol=1e-5)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, member.state_dict()[name] - under.state_dict()[name])
    assert list(module.state_dict()) == list(member.state_dict())
    recurrent = build("rnn")
    with pytest.raises(ValueError, match="weight_ih_l0"):
        differences_module(recurrent, recurrent)


SIZES = st.tuples(st.integers(0, 50), st.integers(1, 12))


@given(own=SIZES, others=st.lists(SIZES, max_size=4))
def test_cheaper_from_is_the_first_number_that_is_cheaper_than_all(
    own: tuple[int, int], others: list[tuple[int, int]]
) -> None:
    def total(sizes: tuple[int, int], models: int) -> int:
        return sizes[0] + models * sizes[1]

    wins = [n for n in range(1, 60) if all(total(own, n) < total(o, n) for o in others)]
    assert cheaper_from(*own, others) == (wins[0] if wins else None)


def _point(codec: str, accuracy: float, size: float, shared: int) -> fleet.Point:
    return fleet.Point(codec, {}, accuracy, accuracy, 99.0, size, shared, 1.0, 0.1)


def test_a_point_breaks_even_with_others_that_are_as_accurate() -> None:
    ours = _point("fleet", 95.0, 100, 30_000)
    as_good, worse = _point("nncodec", 95.5, 10_000, 9_000), _point("nncodec", 90.0, 10, 0)
    assert fleet.rivals(ours, [ours, as_good, worse]) == [as_good]
    assert fleet.break_even(ours, [ours, as_good, worse]) == 3
    # Nobody is as accurate: the most accurate is the measure.
    best = _point("fleet", 97.0, 100, 30_000)
    assert fleet.rivals(best, [best, ours, as_good, worse]) == [as_good]
    assert fleet.break_even(worse, [ours, worse]) == 1
    assert fleet.break_even(as_good, [ours, as_good]) == 1
    assert fleet.break_even(replace(ours, bytes_per_member=10_000), [ours, as_good]) is None


@pytest.fixture(scope="module")
def small_fleet(data: MnistData, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return make_fleet(
        data,
        tmp_path_factory.mktemp("models"),
        counts=COUNTS,
        base_epochs=4,
        digits=200,
        settings=QUICK,
        workers=1,
        seed=0,
        progress=silent,
    )


def test_members_files_of_the_residual_codec_hold_differences(
    small_fleet: Fleet, tmp_path: Path
) -> None:
    lossy = {name: 0.3 * array for name, array in small_fleet.base_arrays.items()}
    stored = StoredBase("lossy", 1000, lossy)
    codec = residuals(small_fleet, Difference(stored, "stored", lossy), 0.02)
    assert (codec.codec, codec.shared_bytes) == ("quantized", 1000)
    assert codec.setting == {"rate_weight": 0.02, "base": "lossy", "difference_from": "stored"}
    path = tmp_path / "member"
    codec.encode(4, path)
    (decoded,) = codec.decode([path])
    added = vc.decode(path)
    assert all(np.array_equal(decoded[name], lossy[name] + added[name]) for name in lossy)
    examination = Examination(small_fleet, [4], test=False)
    assert examination.scores([small_fleet.arrays(4)]).agreements == (100.0,)
    assert examination.scores([decoded]).agreement > 90
    assert examination.scores([added]).agreement < examination.scores([decoded]).agreement
    original = residuals(small_fleet, Difference(stored, "original", lossy), 0.02)
    assert original.key != codec.key


@dataclass(frozen=True)
class Run:
    """A finished experiment: where it wrote, what it returned, what it said and did."""

    out: Path
    result: dict[str, Any]
    notices: list[str]
    stages: set[str]


def _run(data: MnistData, out: Path, **options: Any) -> Run:
    notices: list[str] = []
    stages: set[str] = set()
    result = fleet.run(
        data,
        out,
        members=COUNTS[0],
        validation=COUNTS[1],
        held_out=COUNTS[2],
        codecs=options.pop("codecs", ("fleet", "nncodec", "bitdelta")),
        packs=(
            PackSetting(latent=2, rate_weight=2e-5, steps=20, residuals=(1.0,)),
            PackSetting(latent=1, rate_weight=2e-5, local=1, common_cost=4.0, steps=20),
        ),
        qps=(-28, -22),
        bases=("none", "lossy"),
        base_epochs=4,
        fine_tuning=QUICK,
        digits=200,
        workers=1,
        progress=lambda stage, done, total, metrics: stages.add(stage),
        notice=notices.append,
        **options,
    )
    return Run(out, result.to_dict(), notices, stages)


@pytest.fixture(scope="module")
def experiment(data: MnistData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(data, tmp_path_factory.mktemp("fleet") / "new")


def test_the_experiment_has_the_documented_keys(experiment: Run) -> None:
    result = experiment.result
    assert (result["members"], result["held_out"]) == (COUNTS[0], COUNTS[2])
    assert 0 < result["accuracy_base"] < 100
    assert 0 < result["accuracy_own"] < 100
    expected = {"fleet", "bitdelta"} | ({"nncodec"} if nncodec.installed() else set())
    assert {point["codec"] for point in result["points"]} == expected
    for point in result["points"]:
        assert {
            "codec",
            "accuracy_mean",
            "bytes_per_member",
            "shared_bytes",
            "ratio_per_member",
            "ratio_total",
            "break_even_members",
        } <= set(point)
    assert "experiment fleet" in result["settings"]["command"]
    plain, split = result["packs"]
    assert "local" not in plain["setting"] and split["setting"]["common_cost"] == 4
    assert plain["local_bits"] == 0 < min(plain["common_bits"], split["local_bits"])
    written = json.loads((experiment.out / "fleet.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(result))


def test_ratios_count_every_byte_of_the_files(experiment: Run) -> None:
    raw = experiment.result["raw_bytes"]
    assert raw == 4 * 122_270
    for point in experiment.result["points"]:
        own, shared = point["bytes_per_member"], point["shared_bytes"]
        assert point["ratio_per_member"] == raw / own
        assert point["ratio_total"] == pytest.approx(3 * raw / (shared + 3 * own))
    cache = experiment.out / "cache"
    sizes = {path.stat().st_size for path in (cache / "packs").glob("*.vaepack")}
    ours = [point for point in experiment.result["points"] if point["codec"] == "fleet"]
    assert {point["shared_bytes"] for point in ours} <= sizes
    assert {pack["bytes"] for pack in experiment.result["packs"]} == sizes
    for folder in (cache / "files").iterdir():
        if not (folder / "test.json").exists():
            continue
        point = json.loads((folder / "test.json").read_text(encoding="utf-8"))["point"]
        files = [folder.glob(f"member-{number:04d}.*") for number in (4, 5)]
        found = [path.stat().st_size for one in files for path in one]
        assert point["bytes_per_member"] == sum(found) / 2


def test_only_points_that_no_other_of_the_codec_beats_meet_test_digits(experiment: Run) -> None:
    tried = experiment.result["validation"]
    for codec in {point["codec"] for point in tried}:
        own = [point for point in tried if point["codec"] == codec]
        best = [
            point["setting"]
            for point in own
            if not any(
                _total(other) <= _total(point)
                and other["accuracy_mean"] >= point["accuracy_mean"]
                and other is not point
                for other in own
            )
        ]
        tested = [p["setting"] for p in experiment.result["points"] if p["codec"] == codec]
        assert all(setting in tested for setting in best)
    assert len(experiment.result["points"]) < len(tried)


def _total(point: dict[str, Any]) -> float:
    return float(point["shared_bytes"] + COUNTS[0] * point["bytes_per_member"])


def test_accuracies_are_those_of_the_decoded_files(experiment: Run, data: MnistData) -> None:
    packs = list((experiment.out / "cache" / "packs").glob("*.vaepack"))
    users = Users(data, digits=200)
    for folder in (experiment.out / "cache" / "files").glob("fleet-*"):
        if (folder / "test.json").exists():
            point = json.loads((folder / "test.json").read_text(encoding="utf-8"))["point"]
            (pack,) = [path for path in packs if path.stat().st_size == point["shared_bytes"]]
            accuracies = []
            for number in (4, 5):
                module = build("cnn")
                arrays = vc.decode(folder / f"member-{number:04d}.vaec", pack=pack)
                module.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
                test = users.test(number)
                right = module.eval()(test.images).argmax(1) == test.labels
                accuracies.append(100 * float(right.double().mean()))
            assert point["accuracy_mean"] == pytest.approx(np.mean(accuracies))
            assert point["accuracy_worst"] == pytest.approx(min(accuracies))


def test_the_page_stands_alone_and_says_how_it_was_measured(experiment: Run) -> None:
    page = (experiment.out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "src=" not in page
    assert "<script" not in page
    for text in ("shared decoder", "BitDelta", "Break-even", "How it was measured", "members"):
        assert text in page


def test_a_second_run_uses_what_the_first_one_made(experiment: Run, data: MnistData) -> None:
    files = [path for path in (experiment.out / "cache").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = _run(data, experiment.out)
    assert again.result == experiment.result
    after = {p: p.stat().st_mtime_ns for p in (experiment.out / "cache").rglob("*") if p.is_file()}
    assert after == before
    assert not {"training cnn", "fine-tuning members", "training the decoder"} & again.stages
    assert {"training cnn", "fine-tuning members"} <= experiment.stages


def test_without_nncodec_its_points_are_left_out_and_it_says_so(
    experiment: Run, data: MnistData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules makes the import fail as it does where the package is not installed.
    monkeypatch.setitem(sys.modules, "nncodec", None)
    run = _run(data, tmp_path, cache=experiment.out / "cache", codecs=("nncodec", "bitdelta"))
    assert {point["codec"] for point in run.result["points"]} == {"bitdelta"}
    assert sum("nncodec is not installed" in line for line in run.notices) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1


def test_the_command_has_help_with_examples() -> None:
    command = [sys.executable, "-m", "vaecomp_native", "experiment", "fleet", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "vaecomp experiment fleet" in shown.stdout.partition("Examples:")[2]
    for option in (
        "--members",
        "--held-out",
        "--validation",
        "--steps",
        "--cache",
        "--quick",
        "--json",
    ):
        assert option in shown.stdout
