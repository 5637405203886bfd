"""The folder of a cache: bounded, shared by runs, left by killed ones, refused where it is none."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cache_support import Reading, clock, links, photo, stored
from support import ROOT

from apps.engine.data import cache as module
from apps.engine.data import cache_room
from apps.engine.data.cache import PhotoCache
from datasets.image_io import read_pixels


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.ahead = 0.0
    monkeypatch.setattr(module, "time", clock)


@contextmanager
def unprivileged() -> Iterator[None]:
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def room_for(photos: int) -> float:
    """A limit in GB for so many photos of 40 x 30 and a half."""
    return (photos + 0.5) * (module.HEAD.size + 40 * 30 * 3) / 1e9


def test_a_full_cache_takes_no_more_says_so_once_and_goes_on(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(4)]
    cache = PhotoCache(tmp_path / "cache", room_for(2))
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
    assert sum(path.stat().st_size for path in stored(tmp_path / "cache")) <= room_for(2) * 1e9


def test_a_workers_trouble_is_told_by_the_process_that_opened_the_cache(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    cache = PhotoCache(tmp_path / "cache", room_for(0))
    worker = pickle.loads(pickle.dumps(cache))  # noqa: S301
    Reading(worker)(path)
    assert ["is full" in note for note in cache.notes()] == [True]


def age(root: Path, entry: Path, hours: float) -> None:
    before = time.time() - 3600 * hours
    os.utime(entry, (before, before))


def entry_of(cache: PhotoCache, path: Path) -> Path:
    before = set(stored(cache.root))
    Reading(cache)(path)
    (new,) = set(stored(cache.root)) - before
    return new


IN_A_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from apps.engine.cache import PhotoCache
from datasets.images import read_pixels
cache = PhotoCache({cache!r}, {limit})
for name in sys.argv[1:]:
    cache.pixels(Path(name), None, lambda data: read_pixels(Path(name), data=data))
print("ready", flush=True)
sys.stdin.read()
"""


def process(cache: Path, limit: float, *paths: Path) -> subprocess.Popen[str]:
    code = IN_A_PROCESS.format(root=str(ROOT), cache=str(cache), limit=limit)
    running = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, paths)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


def test_the_photos_not_used_for_longest_go_but_none_that_a_living_run_has_used(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(4)]
    cache = PhotoCache(root, 1)
    entries = [entry_of(cache, path) for path in paths]
    for entry, hours in zip(entries, (1, 4, 3, 2), strict=True):
        age(root, entry, hours)
    other = process(root, 1, paths[1])  # the oldest of all, but used now
    try:
        del cache
        PhotoCache(root, room_for(2))
        assert stored(root) == sorted([entries[0], entries[1]])
        assert all(link.exists() for link in links(root))
        PhotoCache(root, room_for(0))
        assert stored(root) == [entries[1]]
    finally:
        other.communicate("")
    age(root, entries[1], 1)
    PhotoCache(root, room_for(0))
    assert stored(root) == []
    assert links(root) == []


def test_a_new_run_makes_room_for_its_photos_in_a_full_cache(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    old = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(3)]
    first = PhotoCache(root, room_for(3))
    for path in old:
        age(root, entry_of(first, path), 2)
    del first
    cache = PhotoCache(root, room_for(3))
    read = Reading(cache)
    new = photo(tmp_path / "new.bmp", seed=9)
    for _ in range(2):
        read(new)
    assert read.decoded == 1
    assert cache.notes() == []


def test_a_killed_run_leaves_nothing_that_matters(tmp_path: Path) -> None:
    """Its lock goes with it, its half-written file is swept, and what it counted is counted anew."""
    root, path = tmp_path / "cache", photo(tmp_path / "a.bmp")
    running = process(root, 1, path)
    running.kill()
    running.wait()
    (entry,) = stored(root)
    half = entry.with_name(".half")
    half.write_bytes(b"x" * 100)
    for left in (half, entry):
        age(root, left, 2)
    cache_room.CacheRoom(root, 10)
    assert stored(root) == []
    assert len(list((root / "runs").iterdir())) == 1


def test_many_threads_and_two_rooms_fill_one_folder_with_whole_entries(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(12)]
    caches = [PhotoCache(tmp_path / "cache", 1) for _ in range(2)]
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
    cache = PhotoCache(tmp_path / "cache", 1)
    read = Reading(cache)
    read(paths[0])

    def full(place: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_room, "_write", full)
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
        PhotoCache(tmp_path / "locked", 1)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*file .*; give another folder with --cache"):
        PhotoCache(tmp_path / "file", 1)


def test_a_full_disk_is_noticed_before_anything_is_trained(tmp_path: Path) -> None:
    if not Path("/dev/full").exists() or os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], check=False,
                      capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match=r"No space left on device.*--cache"):
            PhotoCache(small, 1)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(("content", "message"), [
    ('{"format": 99}', "is a cache of format 99, this program writes 1; delete it, or give another folder"),
    ("{", "is damaged; delete .*, or give another folder with --cache"),
    ("[]", "is damaged"),
    ("{}", "is damaged"),
])
def test_a_cache_of_another_version_is_refused_with_the_mend(
    tmp_path: Path, content: str, message: str
) -> None:
    PhotoCache(tmp_path / "cache", 1)
    (tmp_path / "cache" / "cache.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        PhotoCache(tmp_path / "cache", 1)


def test_a_folder_with_other_files_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    """Somebody's photos would be among what is evicted."""
    photo(tmp_path / "holiday.bmp")
    with pytest.raises(ValueError, match=r"holds other files \(holiday.bmp, \.\.\.\) and no cache"):
        PhotoCache(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.bmp"]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_out_of_range_is_named(tmp_path: Path, limit: float) -> None:
    with pytest.raises(ValueError, match="--cache-gb must be above 0"):
        PhotoCache(tmp_path / "cache", limit)
