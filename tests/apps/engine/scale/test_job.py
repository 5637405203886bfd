"""Many images to a folder of parts by this machine: resumed, with images that hang or end a process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from queue import Queue
from typing import Any

import pyarrow.parquet as pq
import pytest
from scale_support import DIES, HANGS, Colours, draw, draw_many, parts_of, write_tar
from support import ROOT

from apps.engine.core.console import Console
from apps.engine.scale import job
from apps.engine.scale.job import run_here, run_job, stream
from apps.engine.scale.parts import PartsFolder
from apps.engine.scale.shards import Shard
from apps.engine.scale.work import Order, Result


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


def run(photos: Path, out: Path, answers: Colours | None = None, **how: Any) -> dict[str, Any]:
    order = Order(str(out), **{"shard_size": 4, "image_seconds": 5.0, "workers": 1} | how)
    return run_job([str(photos)], answers or Colours(), order, Console(quiet=True))


def test_one_process_and_several_write_the_same_parts(tmp_path: Path) -> None:
    draw_many(tmp_path / "photos", 10)
    (tmp_path / "photos" / "00003.png").write_text("no image", encoding="utf-8")
    summaries = [
        run(tmp_path / "photos", tmp_path / "here", image_seconds=0),
        run(tmp_path / "photos", tmp_path / "two", workers=2),
        run(tmp_path / "photos", tmp_path / "batches", Colours(batch=3)),
    ]
    here, *others = (parts_of(tmp_path / name) for name in ("here", "two", "batches"))
    assert len(here) == 3
    assert others == [here, here]
    for summary in summaries:
        assert {name: summary[name] for name in ("images", "failed", "parts", "kept_parts")} == {
            "images": 10, "failed": 1, "parts": 3, "kept_parts": 0,
        }
        assert [bad["path"] for bad in summary["refused"]] == [str(tmp_path / "photos" / "00003.png")]
    lines = list(PartsFolder(str(tmp_path / "here")).lines())
    assert lines == list(stream([str(tmp_path / "photos")], Colours()))
    assert [Path(line["path"]).stem for line in lines] == [f"{at:05d}" for at in range(10)]
    schema = pq.read_schema(tmp_path / "here" / next(iter(here)))
    assert schema.names == ["path", "red", "green", "blue", "error"]


def test_started_again_it_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    draw_many(tmp_path / "photos", 12)
    run(tmp_path / "photos", tmp_path / "out", image_seconds=0)
    whole = parts_of(tmp_path / "out")
    first, second, third = (tmp_path / "out" / name for name in whole)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-9])
    kept = third.stat().st_mtime_ns
    assert run(tmp_path / "photos", tmp_path / "out", image_seconds=0)["kept_parts"] == 1
    assert parts_of(tmp_path / "out") == whole
    assert third.stat().st_mtime_ns == kept
    draw(tmp_path / "photos" / "00099.png", (1, 2, 3))
    (tmp_path / "photos" / "00000.png").unlink()
    assert run(tmp_path / "photos", tmp_path / "out", image_seconds=0)["images"] == 12
    run(tmp_path / "photos", tmp_path / "fresh", image_seconds=0)
    assert parts_of(tmp_path / "out") == parts_of(tmp_path / "fresh")


def test_a_folder_of_another_job_is_refused(tmp_path: Path) -> None:
    draw_many(tmp_path / "photos", 3)
    draw_many(tmp_path / "others", 3)
    run(tmp_path / "photos", tmp_path / "out", image_seconds=0)
    before = parts_of(tmp_path / "out")
    with pytest.raises(ValueError, match="another job: paths differs; give another folder"):
        run(tmp_path / "others", tmp_path / "out", image_seconds=0)
    with pytest.raises(ValueError, match="another job: shard_size differs"):
        run(tmp_path / "photos", tmp_path / "out", image_seconds=0, shard_size=2)
    (tmp_path / "out" / "job.json").unlink()
    with pytest.raises(ValueError, match=r"holds parts, but no job\.json"):
        run(tmp_path / "photos", tmp_path / "out", image_seconds=0)
    assert parts_of(tmp_path / "out") == before


@pytest.mark.parametrize("batch", [1, 4])
def test_an_image_that_hangs_or_ends_the_process_is_named_once(tmp_path: Path, batch: int) -> None:
    images = draw_many(tmp_path / "photos", 6)
    draw(images[1], DIES)
    draw(images[4], HANGS)
    tar = write_tar(tmp_path / "a.tar", images)
    summary = run(tar, tmp_path / "out", Colours(batch=batch), image_seconds=1.0)
    assert (summary["images"], summary["failed"]) == (6, 2)
    assert [json.dumps(bad) for bad in summary["refused"]] == [
        json.dumps({
            "path": f"{tar}::0001.png",
            "reason": "it ends the process that answers (SIGKILL); look at this file",
        }),
        json.dumps({"path": f"{tar}::0004.png", "reason": "no answer within 1 s; look at this file"}),
    ]
    lines = list(PartsFolder(str(tmp_path / "out")).lines())
    assert [line["path"].rpartition("::")[2] for line in lines] == [f"{at:04d}.png" for at in range(6)]
    assert sum("error" in line for line in lines) == 2


def test_what_is_loaded_first_is_not_on_the_first_images_time(tmp_path: Path) -> None:
    draw_many(tmp_path / "photos", 2)
    assert run(tmp_path / "photos", tmp_path / "out", Colours(starts=2.0), image_seconds=1.0)["failed"] == 0


def test_workers_that_end_together_all_end_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last shard goes to one of them, and the others find none without a fault."""
    class Worker:
        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, shard: Shard) -> Result:
            time.sleep(0.01)
            return Result(shard)

        def close(self) -> None:
            pass

    class Slow(Queue[Any]):
        def get_nowait(self) -> Any:
            time.sleep(0.001)  # others may take what was there a moment ago
            return super().get_nowait()

    monkeypatch.setattr(job, "ShardWorker", Worker)
    monkeypatch.setattr(job, "Queue", Slow)
    shards = [Shard(number, "files", (), (0, 0), "") for number in range(41)]
    results = list(run_here(shards, Colours(), Order(str(tmp_path), workers=8)))
    assert sorted(result.shard.number for result in results) == list(range(41))
    assert list(run_here(shards[:1], Colours(), Order(str(tmp_path), workers=8))) == [Result(shards[0])]
