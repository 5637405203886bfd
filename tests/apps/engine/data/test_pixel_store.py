"""The folder of a cache: bounded, shared by runs, survives kills and full disks, refused where it is none."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cache_support import Reading, clock, photo, records, stored
from support import ROOT, unprivileged

from apps.engine.data import cache as module
from apps.engine.data import pixel_store
from apps.engine.data.cache import ImageCache
from datasets.image_io import read_pixels


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.ahead = 0.0
    monkeypatch.setattr(module, "time", clock)


def room_for(photos: int) -> float:
    """A limit in GB for so many photos of 40 x 30, each of one page, and a half."""
    return (photos + 0.5) * pixel_store.PAGE / 1e9


def test_a_full_cache_takes_no_more_says_so_once_and_goes_on(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(4)]
    cache = ImageCache(tmp_path / "cache", room_for(2))
    read = Reading(cache)
    assert cache.notes() == []
    for _ in range(2):
        for path in paths:
            np.testing.assert_array_equal(read(path), read_pixels(path))
    assert read.decoded == 2 + 2 * 2
    (note,) = cache.notes()
    assert "is full" in note
    assert "--cache-gb" in note
    assert cache.notes() == []
    assert (tmp_path / "cache" / pixel_store.PIXELS).stat().st_size <= room_for(2) * 1e9
    other_run = Reading(ImageCache(tmp_path / "cache", room_for(4)))  # a larger bound: it goes on
    for path in paths * 2:
        other_run(path)
    assert other_run.decoded == 2


def test_a_workers_trouble_is_told_by_the_process_that_opened_the_cache(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    cache = ImageCache(tmp_path / "cache", room_for(0))
    worker = pickle.loads(pickle.dumps(cache))  # noqa: S301
    Reading(worker)(path)
    assert ["is full" in note for note in cache.notes()] == [True]


IN_A_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from apps.engine.data.cache import ImageCache
from datasets.image_io import read_pixels
cache = ImageCache({cache!r}, {limit})
for name in sys.argv[1:]:
    cache.pixels(Path(name), None, lambda data: read_pixels(Path(name), data=data))
    print("kept", flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


def process(cache: Path, limit: float, *paths: Path) -> subprocess.Popen[str]:
    code = IN_A_PROCESS.format(root=str(ROOT), cache=str(cache), limit=limit)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, paths)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )


def test_two_trainings_at_once_fill_one_folder_and_use_each_others_photos(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(40)]
    running = [process(tmp_path / "cache", 1, *part) for part in (paths[:30], paths[10:])]
    mine = Reading(ImageCache(tmp_path / "cache", 1))
    for path in reversed(paths):
        np.testing.assert_array_equal(mine(path), read_pixels(path))
    for other in running:
        other.communicate("")
        assert other.returncode == 0
    decoded = mine.decoded
    for path in paths:
        np.testing.assert_array_equal(mine(path), read_pixels(path))
    assert mine.decoded == decoded
    assert len(stored(tmp_path / "cache")) == 40
    assert len(records(tmp_path / "cache")) >= 40


def test_a_killed_run_leaves_nothing_that_matters(tmp_path: Path) -> None:
    """The lock goes with the process, and what it kept is there for the next run, whole."""
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(200)]
    running = process(tmp_path / "cache", 1, *paths)
    assert running.stdout is not None
    kept = [running.stdout.readline() for _ in range(20)]
    running.kill()
    running.wait()
    assert kept == ["kept\n"] * 20
    read = Reading(ImageCache(tmp_path / "cache", 1))
    for path in paths:
        np.testing.assert_array_equal(read(path), read_pixels(path))
    assert read.decoded <= 180
    assert read.cache.notes() == []


def test_a_forked_worker_that_ends_leaves_the_runs_file_and_an_ended_run_none(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache", room_for(0))
    worker = os.fork()
    if worker == 0:
        del cache
        os._exit(0)
    os.waitpid(worker, 0)
    Reading(cache)(photo(tmp_path / "a.bmp"))
    assert len(cache.notes()) == 1
    del cache
    assert [path.name for path in (tmp_path / "cache").glob(".*")] == []


def test_many_threads_and_two_rooms_fill_one_folder_with_whole_entries(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(12)]
    caches = [ImageCache(tmp_path / "cache", 1) for _ in range(2)]
    work = [(cache, path) for path in paths for cache in caches * 3]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda one: Reading(one[0])(one[1]), work))
    for (_, path), pixels in zip(work, results, strict=True):
        np.testing.assert_array_equal(pixels, read_pixels(path))
    assert len(stored(tmp_path / "cache")) == 12
    assert caches[0].notes() == []


def test_a_disk_that_fills_up_ends_the_adding_and_not_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(3)]
    cache = ImageCache(tmp_path / "cache", 1)
    read = Reading(cache)
    read(paths[0])

    def full(file: int, parts: list[memoryview], offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", full)
    for path in paths * 2:
        np.testing.assert_array_equal(read(path), read_pixels(path))
    assert read.decoded == 1 + 2 * 2
    (note,) = cache.notes()
    assert "No space left on device" in note
    assert "--cache" in note


def test_a_folder_that_cannot_be_written_is_one_line_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    tmp_path.chmod(0o755)
    line = r"cannot write to .*; give another folder with --cache"
    with unprivileged(), pytest.raises(OSError, match=line):
        ImageCache(tmp_path / "locked", 1)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*file .*; give another folder with --cache"):
        ImageCache(tmp_path / "file", 1)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    if not Path("/dev/full").exists() or os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_noticed_before_anything_is_trained(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "small", "16k") as disk,
        pytest.raises(OSError, match=r"No space left on device.*--cache"),
    ):
        ImageCache(disk, 1)


def test_a_disk_that_is_truly_full_costs_no_photo_and_takes_more_once_there_is_room(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(60)]
    with small_disk(tmp_path / "small", "240k") as disk:
        ballast = disk / ".ballast"
        read = Reading(ImageCache(disk / "cache", 1))
        ballast.write_bytes(bytes(100_000))
        for path in paths * 2:
            np.testing.assert_array_equal(read(path), read_pixels(path))
        assert 60 < read.decoded < 120
        assert ["No space left" in note for note in read.cache.notes()] == [True]
        ballast.unlink()
        kept = len(stored(disk / "cache"))
        again = Reading(ImageCache(disk / "cache", 1))
        for path in paths:
            np.testing.assert_array_equal(again(path), read_pixels(path))
        assert again.decoded == 60 - kept
        assert len(stored(disk / "cache")) > kept


@pytest.mark.parametrize(("content", "message"), [
    ('{"format": 99}', "is a cache of format 99, this program writes 2; delete it, or give another folder"),
    ("{", "is damaged; delete .*, or give another folder with --cache"),
    ("[]", "is damaged"),
    ("{}", "is damaged"),
])
def test_a_cache_of_another_version_is_refused_with_the_mend(
    tmp_path: Path, content: str, message: str
) -> None:
    ImageCache(tmp_path / "cache", 1)
    (tmp_path / "cache" / "cache.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        ImageCache(tmp_path / "cache", 1)


def test_a_folder_with_other_files_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    """Somebody's photos would be among what is evicted."""
    photo(tmp_path / "holiday.bmp")
    with pytest.raises(ValueError, match=r"holds other files \(holiday.bmp, \.\.\.\) and no cache"):
        ImageCache(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.bmp"]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_out_of_range_is_named(tmp_path: Path, limit: float) -> None:
    with pytest.raises(ValueError, match="--cache-gb must be above 0"):
        ImageCache(tmp_path / "cache", limit)
