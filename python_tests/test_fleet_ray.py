"""Many members on a real Ray cluster of several nodes, one of which is killed while it works."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'vaecomp_native[fleet]'")

from vaecomp_native.errors import ArchiveError, VaecompError
from vaecomp_native.fleet import compress_many
from vaecomp_native.fleet.many import ray as engine
from vaecomp_native.fleet.many.report import Item, Outcome

from .fleet_files import FleetFiles, assert_intact, contents, make_fleet_files

COUNT = 1000
NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FleetFiles:
    return make_fleet_files(tmp_path_factory.mktemp("fleet"), COUNT)


@pytest.fixture(scope="module")
def local(files: FleetFiles, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the local engine makes of the members."""
    out = tmp_path_factory.mktemp("local")
    assert compress_many(files.pattern, out, pack=files.pack).counts["made"] == COUNT
    return contents(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that works on nothing, and a node that does."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        cluster.add_node(num_cpus=2, **NODE)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_is_killed_loses_no_member(
    files: FleetFiles, local: dict[str, bytes], cluster: Any, tmp_path: Path
) -> None:
    (working,) = cluster.worker_nodes
    killed = []

    def kill(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if done >= COUNT // 3 and not killed:
            killed.append(done)
            cluster.add_node(num_cpus=2, **NODE)
            cluster.remove_node(working, allow_graceful=False)

    report = compress_many(
        *(files.pattern, tmp_path / "out"),
        pack=files.pack,
        engine="ray",
        ray_address=cluster.address,
        progress=kill,
    )
    # Nothing else had worked until then: the others were made, or found whole, by the new node.
    assert killed and killed[0] < COUNT / 2
    assert working not in cluster.worker_nodes and len(cluster.worker_nodes) == 1
    assert report.counts["failed"] == 0
    assert report.counts["made"] + report.counts["kept"] == COUNT
    # A process that is killed while it writes leaves its temporary file, which is no member.
    for path in (tmp_path / "out").glob(".*.tmp"):
        path.unlink()
    assert_intact(tmp_path / "out", files.pack, COUNT)
    assert contents(tmp_path / "out") == local


def test_members_that_fail_are_reported_and_whole_ones_kept(
    files: FleetFiles, local: dict[str, bytes], cluster: Any, tmp_path: Path
) -> None:
    sources = [*sorted(files.members.iterdir())[:20], tmp_path / "absent.safetensors"]
    (tmp_path / "u0007.safetensors").write_bytes(b"no safetensors")
    sources[7] = tmp_path / "u0007.safetensors"
    (tmp_path / "out").mkdir()
    for name in ("u0001.vaec", "u0002.vaec"):
        (tmp_path / "out" / name).write_bytes(local[name])
    report = compress_many(
        *(sources, tmp_path / "out"),
        pack=files.pack,
        engine="ray",
        workers=3,
        ray_address=cluster.address,
    )
    assert report.counts == {"made": 17, "kept": 2, "failed": 2}
    assert [member.name for member in report.failed] == ["u0007", "absent"]
    assert contents(tmp_path / "out").items() <= local.items()


def test_ctrl_c_cancels_the_tasks(
    files: FleetFiles, local: dict[str, bytes], cluster: Any, tmp_path: Path
) -> None:
    def interrupt(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_many(
            *(files.pattern, tmp_path / "out"),
            pack=files.pack,
            engine="ray",
            ray_address=cluster.address,
            progress=interrupt,
        )
    found = contents(tmp_path / "out")
    assert 30 <= len(found) < COUNT
    assert found.items() <= local.items()


def test_an_address_where_no_cluster_is_fails_soon(files: FleetFiles, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(VaecompError, match=address):
            compress_many(
                files.pattern, tmp_path, pack=files.pack, engine="ray", ray_address=address
            )


def test_what_is_no_pack_is_refused_without_a_cluster(files: FleetFiles, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        compress_many(
            files.pattern, tmp_path, pack=files.base, engine="ray", ray_address="nowhere:1"
        )


def outcomes(items: list[Item], seconds: float) -> list[Outcome]:
    return [Outcome(item.name, item.source, item.output, "made", seconds) for item in items]


def test_tasks_hold_as_many_members_as_they_have_time_for() -> None:
    items = [Item(str(number), "", "") for number in range(1000)]
    queue = engine._Queue(items)
    first = queue.take(4)
    assert len(first) == 1  # nothing is known yet
    queue.learn(outcomes(first, engine.TASK_SECONDS / 10))
    second = queue.take(4)
    assert len(second) == 10
    queue.learn(outcomes(second, 1e-6))
    seen = first + second
    sizes = []
    while queue:
        batch = queue.take(4)
        sizes.append(len(batch))
        seen += batch
    assert seen == items
    assert max(sizes) <= engine.MAX_MEMBERS
    assert sizes[-4:] == [1, 1, 1, 1]  # so that all machines work until the end


def test_members_of_a_task_whose_worker_dies_are_tried_alone() -> None:
    class RayError(Exception):
        pass

    def get(task: object) -> list[Outcome]:
        raise RayError("the worker died\nunexpectedly")

    ray: Any = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=RayError))
    items = [Item(name, "", "") for name in "abc"]
    queue = engine._Queue([])
    assert engine._outcomes(ray, None, items, queue) == []
    batches = [queue.take(8), queue.take(8), queue.take(8)]
    assert batches == [[item] for item in items]
    assert not queue
    (failed,) = engine._outcomes(ray, None, batches[0], queue)
    assert (failed.status, failed.name) == ("failed", "a")
    assert failed.reason == "RayError: the worker died unexpectedly"
