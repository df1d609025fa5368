"""Fixtures of the test suite: every instruction set of this CPU, and hypothesis' profile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests run side by side. Threads of the libraries below them would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from vaecomp_native import kernels

# The instruction set is chosen once for all examples of a test and left alone by them, so that a
# function-scoped fixture is what is wanted. The reference may be slow, so there is no deadline.
settings.register_profile(
    "vaecomp",
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("vaecomp")


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty directory: processes that tests start must import the installed package.

    In the root of a checkout they would find the sources, which have no compiled module.
    """
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    yield
    os.chdir(before)


@pytest.fixture(params=kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with the kernels of one instruction set, for each that this CPU has."""
    name: str = request.param
    with kernels.use_isa(name):
        yield name
