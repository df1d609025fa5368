"""The models of the fleet experiment: a classifier, its users' fine-tunes, and what they are measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from experiments.networks import personal
from experiments.networks.keyed import digest_of, key_of, load_state, read_state, write_state
from experiments.networks.personal import FineTuning
from experiments.networks.training import train_network
from experiments.networks.users import CalibrationBatches, Users
from vaecomp_native.demo.accuracy import percent_correct, predict
from vaecomp_native.demo.digits import Digits, MnistData
from vaecomp_native.progress import Progress

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Fleet:
    """A base, users, and the files of their members by the users' numbers.

    Members of ``training`` make packs, settings are chosen on those of ``validation``, and those of ``held_out`` are measured.
    """

    base: nn.Module
    users: Users
    paths: Sequence[Path]
    training: range
    validation: range
    held_out: range
    members_key: str

    @property
    def key(self) -> str:
        """What tells the members that packs are made from, together, from others."""
        return key_of({"members": self.members_key, "training": len(self.training)})

    def arrays(self, number: int) -> Arrays:
        """A member's weights."""
        return {name: tensor.numpy() for name, tensor in load_state(self.paths[number]).items()}

    def module(self, number: int) -> nn.Module:
        """A member in evaluation mode."""
        return personal.build_with(load_state(self.paths[number]))

    def calibration(self, number: int) -> CalibrationBatches:
        """Images of a member's user, without labels."""
        return self.users.calibration(number)

    @cached_property
    def base_arrays(self) -> Arrays:
        """The base's weights."""
        return {name: tensor.numpy() for name, tensor in self.base.state_dict().items()}

    @property
    def raw_bytes(self) -> int:
        """Of one model."""
        return sum(array.nbytes for array in self.base_arrays.values())


def make_fleet(
    data: MnistData,
    folder: Path,
    *,
    counts: tuple[int, int, int],
    base_epochs: int,
    digits: int,
    settings: FineTuning,
    workers: int,
    seed: int,
    progress: Progress,
) -> Fleet:
    """Train the base and the members that are not in ``folder`` yet; ``counts`` as the ranges of `Fleet`."""
    folder.mkdir(parents=True, exist_ok=True)
    base = _base(data, folder / "base.safetensors", base_epochs, seed, progress)
    users = Users(data, digits=digits, seed=seed)
    training, validation, _ = counts
    paths = personal.members(
        users,
        base.state_dict(),
        range(sum(counts)),
        folder / "members",
        settings=settings,
        workers=workers,
        progress=progress,
    )
    parts = {
        "base": digest_of(base.state_dict()),
        "settings": asdict(settings),
        "digits": digits,
        "seed": seed,
    }
    return Fleet(
        base,
        users,
        paths,
        range(training),
        range(training, training + validation),
        range(training + validation, sum(counts)),
        key_of(parts),
    )


def _base(data: MnistData, path: Path, epochs: int, seed: int, progress: Progress) -> nn.Module:
    train = {"images": data.train.images, "labels": data.train.labels}
    key = key_of({"data": digest_of(train), "epochs": epochs, "seed": seed})
    state = read_state(path, key)
    if state is None:
        trained = train_network(personal.NETWORK, data, epochs=epochs, seed=seed, progress=progress)
        state = trained.model.state_dict()
        write_state(path, state, key)
    return personal.build_with(state)


@dataclass(frozen=True)
class Scores:
    """Of some members, in percent: accuracies, and how often they say what the member's own weights say."""

    accuracies: tuple[float, ...]
    agreements: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """The mean."""
        return float(np.mean(self.accuracies))

    @property
    def agreement(self) -> float:
        """The mean."""
        return float(np.mean(self.agreements))


class Examination:
    """Digits of some members' users, and what the members' own weights make of them."""

    def __init__(self, fleet: Fleet, numbers: Sequence[int], *, test: bool) -> None:
        digits_of = fleet.users.test if test else fleet.users.validation
        self.numbers = numbers
        self._module = personal.build_with(fleet.base.state_dict())
        self._digits: list[Digits] = [digits_of(number) for number in numbers]
        self._own = [
            self._predict(fleet.arrays(number), digits)
            for number, digits in zip(numbers, self._digits, strict=True)
        ]

    @cached_property
    def own(self) -> float:
        """Mean accuracy of the members' own weights."""
        pairs = zip(self._own, self._digits, strict=True)
        return float(np.mean([percent_correct(own, digits.labels) for own, digits in pairs]))

    def of_one(self, arrays: Mapping[str, Array]) -> float:
        """Mean accuracy if all members had the same weights."""
        return self.scores([arrays] * len(self.numbers)).accuracy

    def scores(self, decoded: Iterable[Mapping[str, Array]]) -> Scores:
        """Of weights for each member, in the order of ``numbers``."""
        accuracies, agreements = [], []
        for arrays, digits, own in zip(decoded, self._digits, self._own, strict=True):
            found = self._predict(arrays, digits)
            accuracies.append(percent_correct(found, digits.labels))
            agreements.append(percent_correct(found, own))
        return Scores(tuple(accuracies), tuple(agreements))

    def _predict(self, arrays: Mapping[str, Array], digits: Digits) -> torch.Tensor:
        state = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        self._module.load_state_dict(state)
        return predict(self._module, digits.images)
