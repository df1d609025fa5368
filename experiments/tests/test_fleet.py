"""The fleet experiment: what points are worth, and small fleets from end to end."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from experiments import fleet
from experiments.baselines import nncodec
from experiments.bases import Difference, StoredBase
from experiments.measures.costs import cheaper_from
from experiments.member_codecs import PackSetting, residuals
from experiments.networks.classifiers import build
from experiments.networks.personal import FineTuning
from experiments.networks.users import Users
from experiments.personal_fleet import Examination, Fleet, make_fleet
from experiments.publishing import publisher
from experiments.results.fleet import Point, break_even, rivals
from experiments.tests.command import experiments
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled
from vaecomp_native.progress import silent

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

QUICK = FineTuning(epochs=1)
COUNTS = (3, 1, 2)


@pytest.fixture(scope="module")
def data() -> MnistData:
    """The bundled digits with so few for training that nothing takes long."""
    full = load_bundled()
    return replace(full, train=Digits(full.train.images[:600], full.train.labels[:600]))


SIZES = st.tuples(st.integers(0, 50), st.integers(1, 12))


@given(own=SIZES, others=st.lists(SIZES, max_size=4))
def test_cheaper_from_is_the_first_number_that_is_cheaper_than_all(
    own: tuple[int, int], others: list[tuple[int, int]]
) -> None:
    def total(sizes: tuple[int, int], models: int) -> int:
        return sizes[0] + models * sizes[1]

    wins = [n for n in range(1, 60) if all(total(own, n) < total(o, n) for o in others)]
    assert cheaper_from(*own, others) == (wins[0] if wins else None)


def _point(codec: str, accuracy: float, size: float, shared: int) -> Point:
    return Point(codec, {}, accuracy, accuracy, 99.0, size, shared, 1.0, 0.1)


def test_a_point_breaks_even_with_others_that_are_as_accurate() -> None:
    ours = _point("fleet", 95.0, 100, 30_000)
    as_good, worse = _point("nncodec", 95.5, 10_000, 9_000), _point("nncodec", 90.0, 10, 0)
    assert rivals(ours, [ours, as_good, worse]) == [as_good]
    assert break_even(ours, [ours, as_good, worse]) == 3
    # Nobody is as accurate: the most accurate is the measure.
    best = _point("fleet", 97.0, 100, 30_000)
    assert rivals(best, [best, ours, as_good, worse]) == [as_good]
    assert break_even(worse, [ours, worse]) == 1
    assert break_even(as_good, [ours, as_good]) == 1
    assert break_even(replace(ours, bytes_per_member=10_000), [ours, as_good]) is None


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


def _run(data: MnistData, out: Path, *, cache: Path | None = None, **options: Any) -> Run:
    notices: list[str] = []
    stages: set[str] = set()
    result = fleet.run(
        data,
        cache or out / "cache",
        members=COUNTS[0],
        validation=COUNTS[1],
        held_out=COUNTS[2],
        codecs=options.pop("codecs", ("fleet", "nncodec", "bitdelta")),
        packs=(
            PackSetting(latent=2, decoder_rate_weight=2e-5, steps=20, residuals=(1.0,)),
            PackSetting(latent=1, decoder_rate_weight=2e-5, local=1, common_cost=4.0, steps=20),
        ),
        qps=(-28, -22),
        bases=("none", "lossy"),
        base_epochs=4,
        fine_tuning=QUICK,
        digits=200,
        workers=1,
        progress=lambda stage, done, total, metrics: stages.add(stage),
        notice=notices.append,
        publish=publisher("fleet", out),
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
    assert "experiments fleet" in result["settings"]["command"]
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
    shown = experiments("fleet", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "python -m experiments fleet" in shown.stdout.partition("Examples:")[2]
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
