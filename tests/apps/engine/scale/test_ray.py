"""Faults on a Ray cluster of two nodes on loopback: the rows are those of the undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scale_support import DIES, HANGS, Colours, draw, draw_many, parts_of, workers_below
from support import ROOT

from apps.engine.core.console import Console
from apps.engine.scale.job import run_job
from apps.engine.scale.parts import PartsFolder
from apps.engine.scale.work import Order

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]
COUNT, SHARD, KILLS = 240, 12, 10
SLOW = Colours(seconds=0.15)
ACTOR, ANSWERING = "ray::MapWorker", "apps.engine.scale.worker"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    two.add_node(num_cpus=1)
    try:
        yield two
    finally:
        ray.shutdown()
        two.shutdown()
        os.environ.pop("PYTHONPATH", None)


@pytest.fixture
def driver(cluster: Any) -> Iterator[Any]:
    """This process joins the cluster."""
    import logging

    import ray

    environment = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
    ray.init(
        cluster.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment,
        ignore_reinit_error=True,
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of which one is damaged, one hangs what answers, and one ends its process."""
    folder = tmp_path_factory.mktemp("photos")
    images = draw_many(folder, COUNT)
    images[20].write_text("no image", encoding="utf-8")
    draw(images[50], HANGS)
    draw(images[90], DIES)
    return folder


@pytest.fixture(scope="module")
def calm(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of the undisturbed run by processes of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"))
        out = tmp_path_factory.mktemp("calm") / "out"
        run_job([str(photos)], Colours(), ordered(out, runner="local"), Console(quiet=True))
    lines = list(PartsFolder(str(out)).lines())
    assert [line["path"] for line in lines] == sorted(str(path) for path in photos.iterdir())
    assert [Path(line["path"]).stem for line in lines if "error" in line] == ["00020", "00050", "00090"]
    return parts_of(out)


def ordered(out: Path, **how: Any) -> Order:
    return Order(str(out), **{"runner": "ray", "workers": 2, "shard_size": SHARD, "image_seconds": 4.0} | how)


def during(
    work: Callable[[], dict[str, Any]], disturb: Callable[[Callable[[], bool]], None]
) -> dict[str, Any]:
    """What a job gave whose workers were disturbed; nodes are added by the main thread alone."""
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work)
        disturb(lambda: not job.done())
        return job.result(timeout=900)


def test_workers_killed_ten_times_change_no_row(
    driver: Any, photos: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    killed: list[str] = []

    def kill(goes_on: Callable[[], bool]) -> None:
        while goes_on() and len(killed) < KILLS:
            time.sleep(1.0)
            words = ACTOR if len(killed) % 2 else ANSWERING
            below = workers_below(1, words)
            if below:
                os.kill(below[0], signal.SIGKILL)
                killed.append(words)
                time.sleep(2.0)

    summary = during(
        lambda: run_job([str(photos)], SLOW, ordered(tmp_path / "out"), Console(quiet=True)), kill
    )
    assert len(killed) == KILLS
    assert (summary["images"], summary["failed"]) == (COUNT, 3)
    assert parts_of(tmp_path / "out") == calm


def test_a_node_that_goes_and_one_that_comes_change_no_row(
    cluster: Any, driver: Any, photos: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    done: list[str] = []

    def swap(goes_on: Callable[[], bool]) -> None:
        while not parts_of(tmp_path / "out") and goes_on():
            time.sleep(0.5)
        worker = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
        cluster.remove_node(worker, allow_graceful=False)
        done.append("removed")
        time.sleep(5)
        cluster.add_node(num_cpus=1)
        done.append("added")

    during(lambda: run_job([str(photos)], SLOW, ordered(tmp_path / "out"), Console(quiet=True)), swap)
    assert done == ["removed", "added"]
    assert parts_of(tmp_path / "out") == calm


DRIVER = """
import sys
from scale_support import Colours
from apps.engine.core.console import Console
from apps.engine.scale.job import run_job
from apps.engine.scale.work import Order
photos, out, shard = sys.argv[1:]
order = Order(out, runner="ray", workers=2, shard_size=int(shard), image_seconds=4.0)
print(run_job([photos], Colours(seconds=0.15), order, Console(quiet=True))["kept_parts"])
"""


def test_a_driver_that_was_killed_goes_on_where_it_was(
    cluster: Any, photos: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    out, environment = tmp_path / "out", {**os.environ, "RAY_ADDRESS": cluster.address}
    command = [sys.executable, "-c", DRIVER, str(photos), str(out), str(SHARD)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as first:
        end = time.monotonic() + 300
        while len(parts_of(out)) < 3 and time.monotonic() < end:
            time.sleep(0.2)
        first.kill()
    there = len(parts_of(out))
    assert 3 <= there < len(calm)
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert int(again.stdout) >= there
    assert parts_of(out) == calm
