"""Users, and their fine-tunes of one classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.networks import personal
from experiments.networks.classifiers import build
from experiments.networks.keyed import load_state
from experiments.networks.personal import FineTuning
from experiments.networks.users import BACKGROUND, Geometry, Users
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled

QUICK = FineTuning(epochs=1)


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
    images = torch.full((2, 28, 28), BACKGROUND)
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
    assert torch.allclose(smaller[0, 0], torch.full((28,), BACKGROUND), atol=1e-5)


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
        assert len(user.train) == 200 == len(set(user.train.tolist()))
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
