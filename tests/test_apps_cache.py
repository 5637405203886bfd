"""The cache of decoded photos: fresh, whole, bounded, shared; and what it says when it cannot be."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from apps.engine import cache as module
from apps.engine import cache_room
from apps.engine.cache import PhotoCache, reduced
from datasets.images import BadPhotoError, Pixels, read_pixels


class Reading:
    """Photos of a folder read through a cache, with a count of how many were decoded."""

    def __init__(self, cache: PhotoCache) -> None:
        self.cache, self.decoded = cache, 0

    def __call__(self, path: Path, side: int | None = None) -> Pixels:
        def decode(data: bytes | None) -> Pixels:
            self.decoded += 1
            return read_pixels(path, min_side=side, data=data)

        return self.cache.pixels(path, side, decode)


def photo(path: Path, *, seed: int = 0, size: tuple[int, int] = (40, 30), settled: bool = True) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "BMP")
    if settled:
        settle()
    return path


def settle() -> None:
    """As if the last change were long ago: what the clock says is moved, and the files stay as they are."""
    clock.ahead = 10.0


class Clock:
    ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


clock = Clock()


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


def stored(root: Path) -> list[Path]:
    return sorted(path for path in (root / "pixels").rglob("*") if path.is_file())


def links(root: Path) -> list[Path]:
    return sorted(path for path in (root / "known").rglob("*") if path.is_symlink())


def test_the_second_time_nothing_is_decoded_and_the_pixels_are_the_same(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    first, second = read(path), read(path)
    assert read.decoded == 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, read_pixels(path))
    another_run = Reading(PhotoCache(tmp_path / "cache", 1))
    np.testing.assert_array_equal(another_run(path), first)
    assert another_run.decoded == 0


def test_writing_into_what_was_read_changes_nothing_in_the_cache(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    read(path)
    read(path)[...] = 0
    assert read(path).any()
    assert read.decoded == 1


def test_another_side_or_box_is_another_entry(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    cache = PhotoCache(tmp_path / "cache", 1)
    assert Reading(cache)(path, 10).shape == (10, 13, 3)
    assert Reading(cache)(path, 20).shape == (20, 27, 3)
    box = (0, 0, 8, 9)
    cut = cache.pixels(path, 10, lambda data: read_pixels(path, box=box, data=data), box=box)
    assert cut.shape == (9, 8, 3)


def changes() -> dict[str, Callable[[Path, Path], None]]:
    def in_place(path: Path, other: Path) -> None:
        with path.open("r+b") as file:
            file.write(other.read_bytes())

    def replaced(path: Path, other: Path) -> None:
        shutil.copy2(other, other.with_suffix(".x"))
        other.with_suffix(".x").replace(path)

    def copied_over(path: Path, other: Path) -> None:
        shutil.copyfile(other, path)

    return {"in place": in_place, "replaced": replaced, "copied over": copied_over}


@pytest.mark.parametrize("way", changes())
@pytest.mark.parametrize("settled", [True, False])
def test_a_changed_photo_is_never_served_stale_even_with_its_old_date_and_size(
    tmp_path: Path, way: str, settled: bool
) -> None:
    path = photo(tmp_path / "a.bmp", settled=settled)
    other = photo(tmp_path / "b.bmp", seed=1, settled=settled)
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    for _ in range(2):
        read(path)
    before = path.stat()
    changes()[way](path, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    np.testing.assert_array_equal(read(path), read_pixels(other))


def test_a_change_in_the_same_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    """A file system's clock stands still for milliseconds: no date tells the two contents apart."""
    path = tmp_path / "a.bmp"
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    for seed in range(40):
        photo(path, seed=seed % 2, settled=False)
        np.testing.assert_array_equal(read(path), read_pixels(path))
    assert links(tmp_path / "cache") == []


def test_a_touched_or_copied_photo_is_found_again_by_its_bytes(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    read(path)
    path.touch()
    read(path)
    read(Path(shutil.copy(path, tmp_path / "b.bmp")))
    assert read.decoded == 1
    assert len(stored(tmp_path / "cache")) == 1


def test_a_bad_photo_is_told_each_time_and_not_kept(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    path.write_bytes(path.read_bytes()[:200])
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    for _ in range(2):
        with pytest.raises(BadPhotoError, match=r"a\.bmp"):
            read(path)
    with pytest.raises(BadPhotoError, match="file not found"):
        read(tmp_path / "missing.bmp")
    assert stored(tmp_path / "cache") == []


def test_a_photo_too_large_to_hash_is_read_without_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images._WHOLE_BYTES", 100)
    path = photo(tmp_path / "a.bmp")
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    assert read(path).shape == read(path).shape == (30, 40, 3)
    assert read.decoded == 2


def damages() -> dict[str, Callable[[bytes], bytes]]:
    return {
        "empty": lambda data: data[:0],
        "head only": lambda data: data[:24],
        "half": lambda data: data[: len(data) // 2],
        "a byte changed": lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:],
        "a block lost": lambda data: data[:100] + bytes(512) + data[612:],
        "zeros": lambda data: bytes(len(data)),
        "too long": lambda data: data + bytes(8),
        "another format": lambda data: b"photo 9\n" + data[8:],
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_entry_is_never_served_and_is_mended(tmp_path: Path, damage: str) -> None:
    path = photo(tmp_path / "a.bmp")
    Reading(PhotoCache(tmp_path / "cache", 1))(path)
    (entry,) = stored(tmp_path / "cache")
    entry.write_bytes(damages()[damage](entry.read_bytes()))
    read = Reading(PhotoCache(tmp_path / "cache", 1))
    np.testing.assert_array_equal(read(path), read_pixels(path))
    assert read.decoded == 1
    np.testing.assert_array_equal(read(path), read_pixels(path))
    assert read.decoded == 1


def test_a_large_photo_is_kept_reduced_and_one_hardly_larger_as_it_is() -> None:
    large = np.random.default_rng(0).integers(0, 256, (300, 450, 3), dtype=np.uint8)
    assert reduced(large, 100).shape == (100, 150, 3)
    assert reduced(large, 240) is large
    assert reduced(large, None) is large
    assert reduced(np.zeros((3, 20000, 3), np.uint8), 100).shape == (3, 20000, 3)
    flat = np.full((300, 450, 3), (10, 200, 30), np.uint8)
    assert (reduced(flat, 100) == (10, 200, 30)).all()


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
