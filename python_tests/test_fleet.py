"""Packs and members through `vaecomp_native.fleet`: on small models made here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import vaecomp_native as vc
from vaecomp_native.fleet.decoder import UNIT, FleetDecoder, HiddenLayer, LatentPlan
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.training.components import principal_components
from vaecomp_native.state_dict import read_state_dict

torch = pytest.importorskip("torch")

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
RANK = 2


def make_fleet(members: int, seed: int = 0) -> tuple[Arrays, list[Arrays]]:
    """A base with tensors of several dtypes, and its members.

    They differ from it in `RANK` directions and a little noise.
    """
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal
    base: Arrays = {
        "layer.weight": normal((24, 10), np.float32),
        "layer.bias": np.zeros(24, np.float32),
        "half.weight": normal((6, 24), np.float32).astype(ml_dtypes.bfloat16),
        "norm.weight": np.ones(24, np.float32),
        "steps": np.array([7], np.int64),
    }
    changed = ("layer.weight", "layer.bias", "half.weight")
    directions = [{name: 0.1 * normal(base[name].shape) for name in changed} for _ in range(RANK)]
    fleet = []
    for number in range(members):
        factors = normal(RANK)
        member = dict(base)
        for name in changed:
            delta = sum(f * d[name] for f, d in zip(factors, directions, strict=True))
            delta = delta + 1e-3 * normal(base[name].shape)
            member[name] = (base[name].astype(np.float64) + delta).astype(base[name].dtype)
        member["norm.weight"] = base["norm.weight"] * np.float32(1 + 0.01 * number)
        member["steps"] = np.array([7 + number], np.int64)
        fleet.append(member)
    return base, fleet


def distance(left: Arrays, right: Arrays) -> float:
    """Squared distance of the float tensors that decoders change."""
    names = ("layer.weight", "layer.bias", "half.weight")
    return sum(
        float(np.square(left[n].astype(np.float64) - right[n].astype(np.float64)).sum())
        for n in names
    )


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of principal components."""
    path = tmp_path_factory.mktemp("pack") / "fleet.vaepack"
    base, members = make_fleet(40)
    report = vc.fleet.train(members[:32], path, base=base, latent=RANK)
    assert report.bytes == path.stat().st_size == report.base_bytes + report.decoder_bytes
    assert report.latents == RANK
    assert report.sha256 == vc.fleet.Pack(path).sha256
    return path


def test_a_pack_decodes_to_its_base(pack: Path) -> None:
    base, _ = make_fleet(40)
    decoded = vc.decode(pack)
    assert all(np.array_equal(decoded[name], base[name]) for name in base)


def test_members_that_the_decoder_never_saw_are_near_what_they_were(
    pack: Path, tmp_path: Path
) -> None:
    base, members = make_fleet(40)
    for number in range(32, 40):
        path = tmp_path / f"{number}.vaec"
        report = vc.fleet.compress(members[number], path, pack=pack)
        decoded = vc.decode(path, pack=pack)
        assert list(decoded) == list(base)
        lost = distance(decoded, members[number]) / distance(base, members[number])
        assert lost < 0.05
        assert report.relative_error == pytest.approx(lost)
        assert report.residual_bytes > 0  # of the tensors that no decoder may change
        for name in ("norm.weight", "steps"):
            assert np.array_equal(decoded[name], members[number][name])
        assert vc.verify(path, pack=pack).bytes["total"] == path.stat().st_size == report.bytes


def test_a_residual_takes_bytes_and_saves_error(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(40)
    path = tmp_path / "m.vaec"
    reports = [
        vc.fleet.compress(members[35], path, pack=pack, rate_weight=weight)
        for weight in (None, 1e-4, 1e-6)
    ]
    errors = [report.relative_error for report in reports]
    sizes = [report.residual_bytes for report in reports]
    assert errors[0] > errors[1] > errors[2]
    assert sizes[0] < sizes[1] < sizes[2]
    vc.verify(path, pack=pack)


def test_lossless_members_come_back_bit_for_bit(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(40)
    path = tmp_path / "m.vaec"
    report = vc.fleet.compress(members[36], path, pack=pack, lossless=True)
    decoded = vc.decode(path, pack=pack)
    assert report.relative_error == 0
    assert all(decoded[n].tobytes() == array.tobytes() for n, array in members[36].items())


def codecs_of(path: Path, pack: Path) -> dict[str, str]:
    with vc.open(path, pack=pack) as archive:
        return {tensor.name: tensor.codec for tensor in archive.info.tensors}


def make_series(seed: int = 5) -> tuple[Arrays, list[Arrays]]:
    """A base with tensors of several dtypes, and members that moved a little from it.

    They moved in two directions, and at random.
    """
    generator = np.random.default_rng(seed)
    shapes = {"a": (60, 50), "b": (60,), "c": (40, 60), "d": (40,)}
    dtypes = dict(zip("abcd", ("f4", "f4", ml_dtypes.bfloat16, "f8"), strict=True))
    values = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    steps = [{n: generator.standard_normal(s) for n, s in shapes.items()} for _ in range(2)]

    def moved(along: Array, noise: float) -> Arrays:
        return {
            name: (
                value
                + sum(x * step[name] for x, step in zip(along, steps, strict=True))
                + noise * generator.standard_normal(value.shape)
            ).astype(dtypes[name])
            for name, value in values.items()
        }

    base = moved(np.zeros(2), 0) | {"steps": np.array([0])}
    fleet = [
        moved(0.05 * generator.standard_normal(2), 1e-4) | {"steps": np.array([i])}
        for i in range(9)
    ]
    return base, fleet


def test_lossless_members_are_differences_from_what_latents_make(tmp_path: Path) -> None:
    base, members = make_series()
    pack, path, alone = tmp_path / "p.vaepack", tmp_path / "m.vaec", tmp_path / "a.vaec"
    vc.fleet.train(members, pack, base=base, latent=2)
    report = vc.fleet.compress(members[4], path, pack=pack, lossless=True)
    decoded = vc.decode(path, pack=pack)
    assert all(decoded[n].tobytes() == array.tobytes() for n, array in members[4].items())
    codecs = codecs_of(path, pack)
    assert [codecs[name] for name in "abcd"] == ["differences"] * 4
    assert report.latent_bytes > 0
    vc.compress(members[4], alone, codec="lossless")
    assert path.stat().st_size < 0.75 * alone.stat().st_size
    # What has nothing to do with the directions is nearer to the base alone.
    other = {**base, "a": base["a"] * np.float32(1 + 2**-20)}
    report = vc.fleet.compress(other, path, pack=pack, lossless=True)
    assert report.latent_bytes == 0
    assert codecs_of(path, pack) == {
        **dict.fromkeys(base, "shared"),
        "a": "differences",
    }
    assert vc.decode(path, pack=pack)["a"].tobytes() == other["a"].tobytes()


def make_run(checkpoints: int = 12, seed: int = 7) -> list[Arrays]:
    """A training run whose steps become smaller.

    All rows move in a few directions, and half of them stop early on.
    """
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((64, 90))
    directions = generator.standard_normal((2, *weight.shape))
    stopped = np.arange(64) % 2 == 0
    run = []
    for number in range(checkpoints):
        rate = 0.02 * 0.7**number
        step = np.tensordot(rate * generator.standard_normal(2), directions, 1)
        step += 0.01 * rate * generator.standard_normal(weight.shape)
        step[stopped] *= number < 3
        weight = weight + step
        run.append({"weight": weight.astype(np.float32), "bias": np.zeros(64, np.float32)})
    return run


def test_a_pack_for_lossless_members_leaves_alone_what_stays(tmp_path: Path) -> None:
    run = make_run()
    sizes = []
    for lossless in (False, True):
        path = tmp_path / f"{lossless}.vaepack"
        vc.fleet.train(run, path, base=run[-1], latent=2, lossless=lossless)
        pack, total = vc.fleet.Pack(path), path.stat().st_size
        for number, checkpoint in enumerate(run):
            member = tmp_path / f"{number}.vaec"
            total += vc.fleet.compress(checkpoint, member, pack=pack, lossless=True).bytes
            assert (
                vc.decode(member, pack=path)["weight"].tobytes() == checkpoint["weight"].tobytes()
            )
        sizes.append(total)
    offset, matrix = pack.linear_map
    columns = matrix[pack.layout.places["weight"]].reshape(64, 90, -1)
    assert not columns[::2].any()
    assert columns[1::2].any((1, 2)).all()
    # Nothing is added to what has the latents 0.
    assert np.array_equal(offset, pack.layout.flatten(run[-1]))
    assert sizes[1] < 0.9 * sizes[0]


def test_members_like_the_base_make_a_pack(tmp_path: Path) -> None:
    base, _ = make_series()
    pack, path = tmp_path / "p.vaepack", tmp_path / "m.vaec"
    vc.fleet.train([base] * 3, pack, base=base, latent=2, lossless=True)
    report = vc.fleet.compress(base, path, pack=pack, lossless=True)
    assert report.latent_bytes == report.residual_bytes == 0


def test_tensors_that_no_decoder_changes_are_differences_beside_latents(tmp_path: Path) -> None:
    generator = np.random.default_rng(9)
    base = {
        "weight": generator.standard_normal((20, 30), np.float32),
        "norm.running_var": 1 + generator.random(3000, np.float32),
        "norm.weight": 1 + generator.random(4000),
    }
    members = [
        {
            "weight": base["weight"] + 0.1 * generator.standard_normal((20, 30), np.float32),
            "norm.running_var": base["norm.running_var"] * np.float32(1 + 1e-5 * i),
            "norm.weight": base["norm.weight"] * (1 + 1e-12 * i),
        }
        for i in range(6)
    ]
    pack, path = tmp_path / "p.vaepack", tmp_path / "m.vaec"
    vc.fleet.train(members, pack, base=base, latent=2)
    vc.fleet.compress(members[3], path, pack=pack)
    decoded = vc.decode(path, pack=pack)
    # The float64 one is 14 bits away from the pack's, and far more from a float32 of it.
    assert path.stat().st_size < 1000 + (1.5 * 3000 + 3 * 4000)
    for name in ("norm.running_var", "norm.weight"):
        assert codecs_of(path, pack)[name] == "differences"
        assert decoded[name].tobytes() == members[3][name].tobytes()


def test_the_base_itself_as_a_member_takes_no_section(pack: Path, tmp_path: Path) -> None:
    base, _ = make_fleet(40)
    path = tmp_path / "m.vaec"
    report = vc.fleet.compress(base, path, pack=pack, lossless=True)
    assert report.latent_bytes == report.residual_bytes == 0
    (decoded,) = vc.fleet.decode([path], pack=pack)
    assert all(decoded[name].tobytes() == base[name].tobytes() for name in base)


def test_many_are_decoded_together_as_one_by_one(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(40)
    opened = vc.fleet.Pack(pack)
    paths = [tmp_path / f"{i}.vaec" for i in range(6)]
    for i, path in enumerate(paths):
        rate_weight = 1e-3 if i % 2 else None
        vc.fleet.compress(members[i], path, pack=opened, rate_weight=rate_weight)
    alone = [vc.decode(path, pack=pack) for path in paths]
    for pack_form in (pack, opened, opened.archive):
        together = vc.fleet.decode(paths, pack=pack_form)
        for one, other in zip(alone, together, strict=True):
            assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert vc.fleet.decode([], pack=pack) == []


def test_many_are_decoded_as_one_is(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(40)
    path = tmp_path / "m.vaec"
    vc.fleet.compress(members[3], path, pack=pack, rate_weight=1e-3)
    names = ["steps", "layer.bias"]
    for options in ({"names": names}, {"names": []}, {"mmap": True}, {"threads": 1}):
        alone = vc.decode(path, pack=pack, **options)
        for one in vc.fleet.decode([path, path], pack=pack, **options):
            assert list(one) == list(alone)
            assert all(one[name].tobytes() == alone[name].tobytes() for name in one)
    with pytest.raises(KeyError, match="'other'"):
        vc.fleet.decode([path], pack=pack, names=["other"])
    with pytest.raises(TypeError, match="names"):
        vc.fleet.decode([path], pack=pack, names="steps")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    with pytest.raises(vc.ArchiveError):
        vc.fleet.decode([bytes(damaged)], pack=pack)


def test_another_pack_is_refused_by_its_hash(pack: Path, tmp_path: Path) -> None:
    base, members = make_fleet(8)
    other = tmp_path / "other.vaepack"
    report = vc.fleet.train(members, other, base=base, latent=1)
    path = tmp_path / "m.vaec"
    vc.fleet.compress(members[0], path, pack=other)
    with pytest.raises(vc.MissingPackError, match=report.sha256):
        vc.decode(path)
    with pytest.raises(vc.MissingPackError, match=report.sha256):
        vc.fleet.decode([path], pack=pack)


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    base, members = make_fleet(1)
    path = tmp_path / "base.vaec"
    vc.compress(base, path, codec="lossless")
    with pytest.raises(vc.ArchiveError, match="fleet"):
        vc.fleet.compress(members[0], tmp_path / "m.vaec", pack=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("layer.bias"), "lacks tensor 'layer.bias'"),
        (lambda m: m.update(extra=np.zeros(3, np.float32)), "has a tensor 'extra'"),
        (lambda m: m.update({"layer.bias": np.zeros(5, np.float32)}), r"\[5\]"),
    ],
)
def test_models_unlike_the_base_are_refused(
    pack: Path, tmp_path: Path, change: Any, message: str
) -> None:
    base, members = make_fleet(4)
    member = dict(members[1])
    change(member)
    with pytest.raises(vc.WeightsError, match=message):
        vc.fleet.compress(member, tmp_path / "m.vaec", pack=pack)
    with pytest.raises(vc.WeightsError, match=message):
        vc.fleet.train([members[0], member], tmp_path / "p.vaepack", base=base)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"latent": 0},
        {"hidden": 16},
        {"latent": [2, 4]},
        {"steps": 0},
        {"decoder_rate_weight": -1.0},
        {"common_cost": 0.0},
        {"calibration": []},
        {"calibration": [[]] * 4, "lossless": True},
        {"base_options": {"codecs": "raw"}},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    base, members = make_fleet(4)
    with pytest.raises(ValueError, match=next(iter(options))):
        vc.fleet.train(members, tmp_path / "p.vaepack", base=base, **options)


def test_targets_exclude_each_other(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(1)
    with pytest.raises(ValueError, match="rate_weight and lossless"):
        vc.fleet.compress(
            members[0], tmp_path / "m.vaec", pack=pack, rate_weight=0.1, lossless=True
        )
    with pytest.raises(ValueError, match="max_loss needs evaluate"):
        vc.fleet.compress(members[0], tmp_path / "m.vaec", pack=pack, max_loss=0.1)


class Classifier(torch.nn.Module):
    """Two layers, with normalization between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.norm = torch.nn.BatchNorm1d(16)
        self.second = torch.nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        return self.second(torch.relu(self.norm(self.first(x))))


def make_classifiers(members: int) -> tuple[Classifier, list[Classifier]]:
    """A base, and members that see its task through inputs turned by an angle of their own."""
    torch.manual_seed(0)
    base = Classifier().eval()
    fleet = []
    for number in range(members):
        member = Classifier().eval()
        member.load_state_dict(base.state_dict())
        angle = torch.tensor(1.2 * number / max(members - 1, 1))
        turn = torch.eye(8)
        turn[0, 0] = turn[1, 1] = torch.cos(angle)
        turn[0, 1], turn[1, 0] = -torch.sin(angle), torch.sin(angle)
        with torch.no_grad():
            member.first.weight.copy_(base.first.weight @ turn)
            member.norm.running_mean.add_(0.01 * number)
        fleet.append(member)
    return base, fleet


def batches_of(member: int) -> list[Any]:
    generator = torch.Generator().manual_seed(member)
    return [torch.randn(32, 8, generator=generator) for _ in range(4)]


def mse(batches: Iterable[Any]) -> vc.Calibration:
    return vc.Calibration(batches, divergence="mse")


def disagreement(left: Classifier, right: Classifier) -> float:
    """Mean squared difference of outputs on fresh inputs."""
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(99))
    with torch.no_grad():
        return float((left(x) - right(x)).square().mean())


@pytest.mark.parametrize("options", [{}, {"hidden": 6}, {"local": 1}])
def test_decoders_are_trained_by_function(tmp_path: Path, options: dict[str, int]) -> None:
    base, members = make_classifiers(12)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    path = tmp_path / "fleet.vaepack"
    report = vc.fleet.train(
        members[:-1],
        path,
        base=base,
        calibration=mse(batches_of(i) for i in range(11)),  # which can be read only once
        latent=2,
        steps=200,
        decoder_rate_weight=1e-8,
        **options,
    )
    # How much is left to train depends on the start, which components make good already.
    assert report.history[-1]["divergence"] < 0.8 * report.history[0]["divergence"]
    assert all(torch.equal(tensor, base.state_dict()[n]) for n, tensor in before.items())
    assert not any(parameter.grad is not None for parameter in base.parameters())
    member = members[-1]
    made = tmp_path / "m.vaec"
    vc.fleet.compress(member, made, pack=path, calibration=mse(batches_of(11)))
    loaded = Classifier().eval()
    vc.load_into(loaded, made, pack=path)
    assert disagreement(loaded, member) < 0.15 * disagreement(base, member)


def test_costly_common_latents_leave_more_to_local_ones(tmp_path: Path) -> None:
    base, members = make_classifiers(12)
    bits = []
    for common_cost in (1.0, 1000.0):
        report = vc.fleet.train(
            members,
            tmp_path / "fleet.vaepack",
            base=base,
            calibration=mse([batches_of(i) for i in range(12)]),
            latent=1,
            local=1,
            common_cost=common_cost,
            steps=150,
            decoder_rate_weight=1e-8,
        )
        assert report.latents == 1 + 3
        assert report.common_bits >= 0
        bits.append((report.common_bits, report.local_bits))
    (common, local), (less, more) = bits
    assert less < 0.5 * common
    assert more / less > local / common


def test_the_best_of_several_designs_is_chosen_by_members_held_out(tmp_path: Path) -> None:
    base, members = make_classifiers(16)
    report = vc.fleet.train(
        members,
        tmp_path / "fleet.vaepack",
        base=base,
        calibration=mse([batches_of(i) for i in range(16)]),
        latent=[1, 2],
        hidden=[0, 4],
        steps=60,
        decoder_rate_weight=1e-9,
    )
    tried = [(design.latent, design.hidden) for design in report.designs]
    assert tried == [(1, 0), (1, 4), (2, 0), (2, 4)]
    best = min(report.designs, key=lambda design: design.divergence)
    assert report.latents == best.latent
    assert report.to_dict()["designs"][0]["latent"] == 1


def test_a_residual_is_added_until_the_score_is_kept(tmp_path: Path) -> None:
    base, members = make_classifiers(6)
    path = tmp_path / "fleet.vaepack"
    vc.fleet.train(members[:4], path, base=base, latent=1)
    member = members[5]
    state = {name: tensor.clone() for name, tensor in member.state_dict().items()}

    def score(module: Any) -> float:
        return -disagreement(module, original)

    original = Classifier().eval()
    original.load_state_dict(state)
    scores = []
    for max_loss in (1e9, 1e-3, 1e-5, 0.0):
        made = tmp_path / "m.vaec"
        report = vc.fleet.compress(member, made, pack=path, evaluate=score, max_loss=max_loss)
        assert report.score_original == 0
        assert report.score >= -max_loss
        loaded = Classifier().eval()
        vc.load_into(loaded, made, pack=path)
        assert score(loaded) == report.score
        scores.append((report.bytes, report.score))
        assert all(torch.equal(t, state[n]) for n, t in member.state_dict().items())
    assert scores == sorted(scores)
    assert scores[-1][1] == 0


def test_equal_seeds_make_equal_files(tmp_path: Path) -> None:
    base, members = make_classifiers(5)
    files = []
    for run in range(2):
        path = tmp_path / f"{run}.vaepack"
        vc.fleet.train(
            members,
            path,
            base=base,
            calibration=mse([batches_of(i) for i in range(5)]),
            latent=1,
            steps=20,
        )
        made = tmp_path / f"{run}.vaec"
        vc.fleet.compress(
            members[0],
            made,
            pack=path,
            calibration=mse(batches_of(0)),
        )
        files.append((path.read_bytes(), made.read_bytes()))
    assert files[0] == files[1]


def test_principal_components_reconstruct_a_fleet_of_their_rank() -> None:
    generator = np.random.default_rng(0)
    state = read_state_dict({"a.w": np.zeros((5, 4), np.float32), "b.w": np.zeros(7, np.float32)})
    layout = Layout.of(state)
    plan = LatentPlan(common=2, local=1, blocks=2)
    scores = generator.standard_normal((30, 4))
    columns = generator.standard_normal((layout.size, 4)).astype(np.float32)
    columns[20:, 2] = 0
    columns[:20, 3] = 0
    deltas = (scores @ columns.T + 3).astype(np.float32)
    weights = generator.uniform(0.5, 2, layout.size).astype(np.float32)
    found = principal_components(deltas, weights, layout, plan)
    made = found.deltas(layout, plan)
    # Common ones take what varies most, local ones the rest of each block.
    # The rank is 2 + 1 in each block, so that all is found.
    assert np.square(made - deltas).mean() < 0.2 * deltas.var(0).mean()
    assert np.allclose(found.latents.mean(0), 0, atol=1e-5)
    assert np.allclose(found.latents.std(0), 1, atol=1e-4)


def test_components_about_zero_have_no_constant() -> None:
    generator = np.random.default_rng(3)
    state = read_state_dict({"w": np.zeros((5, 4), np.float32)})
    layout, plan = Layout.of(state), LatentPlan(common=1, local=0, blocks=1)
    latents = 2 + generator.standard_normal((30, 1)).astype(np.float32)
    deltas = latents @ generator.standard_normal((1, 20)).astype(np.float32)
    found = principal_components(deltas, np.ones(20, np.float32), layout, plan, about_mean=False)
    assert not found.columns[:, 0].any()
    assert np.allclose(found.deltas(layout, plan), deltas, atol=1e-5)
    assert np.allclose(np.square(found.latents).mean(0), 1, atol=1e-5)


def test_a_hidden_layer_in_integers_follows_the_real_one() -> None:
    generator = np.random.default_rng(1)
    state = read_state_dict({"w": np.zeros((30, 3), np.float32)})
    layout, plan = Layout.of(state), LatentPlan(common=4, local=0, blocks=1, hidden=9)
    symbols = generator.integers(-20, 21, (90, 10)).astype(np.int8)
    hidden = HiddenLayer(
        generator.standard_normal((9, 4)).astype(np.float32),
        generator.standard_normal(9).astype(np.float32),
    )
    decoder = FleetDecoder(layout, plan, symbols, {"w": np.float32(0.25)}, [hidden])
    (group,) = decoder.groups()
    latents = generator.integers(-40, 41, 4).astype(np.int8)
    activations = np.maximum(hidden.weight @ (latents / UNIT) + hidden.bias, 0)
    features = np.concatenate([[1.0], np.minimum(activations, 127 / UNIT)])
    expected = 0.25 * (symbols.astype(np.float64) @ features)
    made = group.added(latents)["w"].reshape(-1)
    rounding = 0.25 * (np.abs(symbols[:, 1:]).sum(1)) * (0.5 / UNIT + 0.05)
    assert (np.abs(made - expected) <= rounding).all()


def test_wide_posteriors_take_cheaper_latents() -> None:
    generator = np.random.default_rng(2)
    means = generator.standard_normal((200, 4)).astype(np.float32)

    def bits(deviation: float) -> tuple[float, float]:
        deviations = np.full_like(means, deviation)
        prior = LatentPrior.fit(means, deviations)
        chosen = prior.quantize(means.reshape(-1), deviations.reshape(-1))
        shares = np.array(prior.counts) / sum(prior.counts)
        error = float(np.abs(chosen / UNIT - means.reshape(-1)).max())
        return float(-np.log2(shares[chosen - prior.first]).mean()), error

    narrow, small = bits(0.01)
    wide, large = bits(0.5)
    assert wide < narrow - 2
    assert small <= 1 / UNIT
    assert large < 4 * 0.5


def test_latents_beyond_the_tables_are_still_stored(pack: Path) -> None:
    opened = vc.fleet.Pack(pack)
    latents = np.full(opened.latents, 127, np.int8)
    section = opened.reader.encode_member(latents)
    assert len(section) >= opened.latents


def test_reports_are_plain_data(pack: Path, tmp_path: Path) -> None:
    _, members = make_fleet(1)
    report = vc.fleet.compress(members[0], tmp_path / "m.vaec", pack=pack)
    assert report.to_dict() == dataclasses.asdict(report)
