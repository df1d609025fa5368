"""Checkpoints of a training, the codecs they are compared with, and the series experiment."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import vaecomp_native as vc
from experiments import series
from experiments.baselines import lossless_differences
from experiments.baselines.lossless_differences import CODERS, FORMS, Coder
from experiments.networks.keyed import load_state
from experiments.networks.personal import build_with
from experiments.networks.series import make_series
from experiments.networks.training import train_network
from experiments.publishing import publisher
from experiments.series_codecs import SeriesPack
from experiments.series_setup import MAX_DISAGREEMENT
from experiments.tests.command import experiments
from vaecomp_native.demo.accuracy import accuracy, percent_correct, predict
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled
from vaecomp_native.errors import VaecompError

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

PLAIN = Coder("plain", "numpy", bytes, bytes)
INSTALLED = [coder for coder in CODERS if coder.installed]
COUNT = 2


def _few(digits: Digits, count: int) -> Digits:
    return Digits(digits.images[:count], digits.labels[:count])


@pytest.fixture(scope="module")
def data() -> MnistData:
    """So few of the bundled digits that nothing takes long."""
    full = load_bundled()
    return MnistData(
        train=_few(full.train, 640),
        validation=_few(full.validation, 100),
        test=_few(full.test, 100),
        full=False,
        notice="a few digits",
    )


def _same(a: Path, b: Path) -> bool:
    one, other = load_state(a), load_state(b)
    return all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoints_are_the_last_ones_of_a_training(data: MnistData, tmp_path: Path) -> None:
    # Five batches an epoch, so five checkpoints.
    made = make_series(data, tmp_path, checkpoints=7, epochs=1, seed=3)
    assert len(made) == 7 == len({path.read_bytes() for path in made.paths})
    trained = train_network("cnn", data, epochs=2, seed=3).model.state_dict()
    last = load_state(made.paths[-1])
    assert all(torch.equal(tensor, trained[name]) for name, tensor in last.items())
    fewer = make_series(data, tmp_path / "fewer", checkpoints=2, epochs=2, seed=3)
    assert all(map(_same, fewer.paths, made.paths[-2:]))
    assert made.raw_bytes == 4 * 122_270


def test_checkpoints_are_used_again_unless_one_is_damaged_or_made_otherwise(
    data: MnistData, tmp_path: Path
) -> None:
    def trains(**options: Any) -> bool:
        stages: set[str] = set()
        options = {"checkpoints": 2, "epochs": 1, **options}
        make_series(data, tmp_path, **options, progress=lambda stage, *_: stages.add(stage))
        return bool(stages)

    assert trains()
    path = tmp_path / "checkpoint-0001.safetensors"
    before = load_state(path)
    assert not trains()
    path.write_bytes(path.read_bytes()[:-1])
    assert trains()
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_state(path).items())
    assert trains(seed=1)
    assert trains(epochs=2)


WORDS = nps.arrays(np.uint32, st.integers(1, 40))


@given(words=WORDS, others=st.randoms(use_true_random=False))
@pytest.mark.parametrize("form", FORMS)
def test_differences_give_every_bit_pattern_back(form: Any, words: Any, others: Any) -> None:
    known = np.array([others.getrandbits(32) for _ in words], np.uint32)
    arrays = {"a": words[:1].view(np.float32), "b": words[1:].view(np.float32).reshape(1, -1)}
    reference = {"a": known[:1].view(np.float32), "b": known[1:].view(np.float32).reshape(1, -1)}
    shapes = {name: array.shape for name, array in arrays.items()}
    turned = dict(reversed(reference.items()))
    for base in (None, reference, turned):
        data = lossless_differences.encode(arrays, base, form, PLAIN)
        decoded = lossless_differences.decode(data, base, form, PLAIN, shapes)
        assert all(decoded[name].tobytes() == array.tobytes() for name, array in arrays.items())
        assert all(decoded[name].shape == shape for name, shape in shapes.items())


def test_integer_differences_count_floats_in_their_order() -> None:
    tiny = np.float32(1e-45)
    around = np.array(
        [-tiny, -0.0, 0.0, tiny, 1, np.nextafter(np.float32(1), np.float32(2))], np.float32
    )
    data = lossless_differences.encode({"w": around[1:]}, {"w": around[:-1]}, "integer", PLAIN)
    steps = np.frombuffer(data, np.uint32)
    # One step up is 2 in zigzag, from the smallest number to 1 there are many.
    assert steps[[0, 1, 2, 4]].tolist() == [2, 2, 2, 2]
    down = lossless_differences.encode({"w": around[:-1]}, {"w": around[1:]}, "integer", PLAIN)
    assert np.frombuffer(down, np.uint32)[[0, 1, 2, 4]].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="'w' is float64"):
        lossless_differences.encode({"w": np.zeros(2)}, None, "xor", PLAIN)


@pytest.mark.parametrize("coder", INSTALLED, ids=lambda coder: coder.name)
def test_other_coders_code_small_differences_in_fewer_bytes(coder: Coder) -> None:
    generator = np.random.default_rng(0)
    known = {"w": generator.standard_normal(20_000, np.float32)}
    arrays = {"w": known["w"] * (1 + 1e-5 * generator.standard_normal(20_000, np.float32))}
    alone = lossless_differences.encode(arrays, None, "xor", coder)
    for form in FORMS:
        data = lossless_differences.encode(arrays, known, form, coder)
        assert len(data) < 0.8 * len(alone)
        decoded = lossless_differences.decode(data, known, form, coder, {"w": (20_000,)})
        assert decoded["w"].tobytes() == arrays["w"].tobytes()


@dataclass(frozen=True)
class Run:
    """A finished experiment: where it wrote, what it returned, what it said and did."""

    out: Path
    result: dict[str, Any]
    notices: list[str]
    stages: set[str]

    def codec(self, name: str) -> dict[str, Any]:
        (found,) = [codec for codec in self.result["codecs"] if codec["codec"] == name]
        return dict(found)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.result["rows"] if row["codec"] == name]

    def files(self, name: str) -> list[Path]:
        """The codec's files; of several settings those with the codec's bytes."""
        sizes = [row["bytes"] for row in self.rows(name)]
        folders = [path.parent for path in self.out.rglob("decoded.json")]
        all_files = [sorted(one.glob("*.vaec")) for one in folders]
        (found,) = [
            files for files in all_files if [file.stat().st_size for file in files] == sizes
        ]
        return found


def _run(data: MnistData, out: Path, cache: Path | None = None) -> Run:
    notices: list[str] = []
    stages: set[str] = set()
    result = series.run(
        data,
        cache or out / "cache",
        checkpoints=COUNT,
        packs=(SeriesPack("middle", 1, decoder_rate_weight=2e-5, steps=20),),
        lossless_packs=(SeriesPack("first", 1), SeriesPack("middle", 1)),
        epochs=6,
        digits=32,
        progress=lambda stage, done, total, metrics: stages.add(stage),
        notice=notices.append,
        publish=publisher("series", out),
    )
    return Run(out, result.to_dict(), notices, stages)


@pytest.fixture(scope="module")
def experiment(data: MnistData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(data, tmp_path_factory.mktemp("series") / "new")


OURS = ("series", "quantized", "series-lossless", "lossless")


def test_the_experiment_has_the_documented_keys(experiment: Run) -> None:
    result = experiment.result
    names = [codec["codec"] for codec in result["codecs"]]
    others = {
        f"{coder.name}, {form}, {reference}"
        for coder in INSTALLED
        for form in FORMS
        for reference in ("previous", "base")
    }
    assert len(names) == len(set(names))
    assert set(names) == {*OURS, *others}
    keys = {
        "codec",
        "lossless",
        "random_access",
        "total_bytes",
        "shared_bytes",
        "bytes_per_checkpoint",
        "ratio",
        "largest_change",
        "mean_loss",
        "encode_seconds",
        "decode_seconds",
    }
    assert all(keys <= set(codec) for codec in result["codecs"])
    assert all(
        codec["random_access"] != codec["codec"].endswith("previous") for codec in result["codecs"]
    )
    assert result["checkpoints"] == COUNT
    assert [row["checkpoint"] for row in experiment.rows("series")] == list(range(COUNT))
    assert f"experiments series --checkpoints {COUNT}" in result["settings"]["command"]
    assert all(coder.package in result["settings"] for coder in INSTALLED)
    assert result["machine"]["processor"]
    written = json.loads((experiment.out / "series.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(result))


def test_every_byte_of_the_files_is_counted(experiment: Run) -> None:
    raw = experiment.result["raw_bytes"]
    cache = experiment.out / "cache"
    packs = {path.stat().st_size for path in (cache / "shared").glob("*.vaepack")}
    for codec in experiment.result["codecs"]:
        rows = experiment.rows(codec["codec"])
        assert codec["total_bytes"] == codec["shared_bytes"] + sum(row["bytes"] for row in rows)
        assert codec["ratio"] == pytest.approx(COUNT * raw / codec["total_bytes"])
        if codec["codec"].startswith("series"):
            assert codec["shared_bytes"] in packs
        elif codec["codec"].endswith("base"):
            assert codec["shared_bytes"] > 0.5 * raw
        else:
            assert codec["shared_bytes"] == 0
    assert [len(experiment.files(name)) for name in ("quantized", "lossless")] == [COUNT, COUNT]


def _decoded(experiment: Run, name: str) -> list[dict[str, np.ndarray]]:
    """What a codec's files hold; its pack is known by its size."""
    shared = experiment.codec(name)["shared_bytes"]
    packs = (experiment.out / "cache" / "shared").glob("*.vaepack")
    pack = [path for path in packs if path.stat().st_size == shared]
    return [vc.decode(file, pack=pack[0] if pack else None) for file in experiment.files(name)]


def _checkpoints(experiment: Run) -> list[dict[str, torch.Tensor]]:
    folder = experiment.out / "cache" / "checkpoints"
    return [load_state(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("name", ["series-lossless", "lossless"])
def test_lossless_files_give_back_every_bit(experiment: Run, name: str) -> None:
    decoded = _decoded(experiment, name)
    for arrays, state in zip(decoded, _checkpoints(experiment), strict=True):
        for key, tensor in state.items():
            assert arrays[key].tobytes() == tensor.numpy().tobytes()
    assert all(
        (codec["largest_change"], codec["mean_loss"], codec["residuals"]) == (0, 0, 0)
        for codec in experiment.result["codecs"]
        if codec["lossless"]
    )


@pytest.mark.parametrize("name", ["series", "quantized"])
def test_losses_are_those_of_the_decoded_files_which_say_what_originals_say(
    experiment: Run, data: MnistData, name: str
) -> None:
    def score(state: dict[str, torch.Tensor], digits: Digits) -> float:
        return accuracy(build_with(state), digits.images, digits.labels)

    losses = []
    decoded = _decoded(experiment, name)
    for row, state, arrays in zip(
        experiment.rows(name), _checkpoints(experiment), decoded, strict=True
    ):
        found = {key: torch.from_numpy(array) for key, array in arrays.items()}
        assert not all(torch.equal(found[key], state[key]) for key in state)
        assert row["accuracy_own"] == pytest.approx(score(state, data.test))
        assert row["accuracy"] == pytest.approx(score(found, data.test))
        losses.append(row["accuracy_own"] - row["accuracy"])
        for key, digits in (("agreement", data.test), ("validation_agreement", data.validation)):
            classes = [predict(build_with(one), digits.images) for one in (state, found)]
            assert row[key] == pytest.approx(percent_correct(*classes))
        assert row["validation_agreement"] >= 100 - MAX_DISAGREEMENT - 1e-9
    codec = experiment.codec(name)
    assert codec["largest_change"] == pytest.approx(max(map(abs, losses)))
    assert codec["mean_loss"] == pytest.approx(np.mean(losses))
    agreements = [row["agreement"] for row in experiment.rows(name)]
    assert codec["mean_agreement"] == pytest.approx(np.mean(agreements))
    assert codec["least_agreement"] == min(agreements)


def test_the_setting_that_promises_the_fewest_bytes_is_taken(experiment: Run) -> None:
    trials = [t for t in experiment.result["trials"] if t["codec"] == "series-lossless"]
    assert [trial["setting"]["base"] for trial in trials] == ["first", "middle"]
    best = min(trials, key=lambda trial: trial["promised_bytes"])
    codec = experiment.codec("series-lossless")
    assert codec["setting"] == best["setting"]
    # Of so few checkpoints all were tried.
    assert codec["total_bytes"] == pytest.approx(best["promised_bytes"])


def test_the_page_stands_alone_and_says_how_it_was_measured(experiment: Run) -> None:
    page = (experiment.out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "src=" not in page
    assert "<script" not in page
    for text in ("pack of the series", "each alone", "How it was measured", "random<br>access"):
        assert text in page


def test_a_second_run_uses_what_the_first_one_made(experiment: Run, data: MnistData) -> None:
    def times() -> dict[Path, int]:
        kept = (experiment.out / "cache").rglob("*.*")
        return {path: path.stat().st_mtime_ns for path in kept if path.parent.name != "shared"}

    before = times()
    again = _run(data, experiment.out)
    assert again.result == experiment.result
    assert times() == before
    assert not {"training cnn", "training the decoder"} & again.stages
    assert {"training cnn", "training the decoder"} <= experiment.stages


def test_a_run_goes_on_where_another_was_interrupted(experiment: Run, data: MnistData) -> None:
    (gone,) = [file for file in experiment.files("lossless") if file.stem == "checkpoint-0001"]
    content = gone.read_bytes()
    gone.unlink()
    again = _run(data, experiment.out)
    assert gone.read_bytes() == content
    assert [row["bytes"] for row in again.rows("lossless")] == [
        row["bytes"] for row in experiment.rows("lossless")
    ]


def test_without_a_package_its_codecs_are_left_out_and_it_says_so(
    experiment: Run, data: MnistData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules makes the import fail as it does where the package is not installed.
    for name in ("zstandard", "zipnn"):
        monkeypatch.setitem(sys.modules, name, None)
    run = _run(data, tmp_path, cache=experiment.out / "cache")
    assert tuple(codec["codec"] for codec in run.result["codecs"]) == OURS
    for name in ("zstandard", "zipnn"):
        assert sum(f"{name} is not installed" in line for line in run.notices) == 1


def test_a_lossless_file_that_is_not_the_checkpoints_is_refused(
    experiment: Run, data: MnistData, tmp_path: Path
) -> None:
    shutil.copytree(experiment.out / "cache", tmp_path / "cache")
    copied = replace(experiment, out=tmp_path)
    files = copied.files("lossless")
    shutil.copy(files[1], files[0])
    (files[0].parent / "decoded.json").unlink()
    with pytest.raises(VaecompError, match=r"lossless: checkpoint 0's 'conv1.*' did not come back"):
        _run(data, tmp_path)


def test_the_command_has_help_with_examples() -> None:
    shown = experiments("series", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "python -m experiments series" in shown.stdout.partition("Examples:")[2]
    for option in ("--checkpoints", "--out", "--cache", "--threads", "--quick", "--json"):
        assert option in shown.stdout
