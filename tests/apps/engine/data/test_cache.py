"""The cache of decoded photos: fresh, whole and reduced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cache_support import Reading, clock, photo, records, settle, stored
from PIL import Image

from apps.engine.data import cache as module
from apps.engine.data.cache import ImageCache, reduced
from apps.engine.data.pixel_store import INDEX, PIXELS, RECORD
from datasets.image_io import BadImageError, read_pixels


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.ahead = 0.0
    monkeypatch.setattr(module, "time", clock)


def test_the_second_time_nothing_is_decoded_and_the_pixels_are_the_same(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(ImageCache(tmp_path / "cache", 1))
    first, second = read(path), read(path)
    assert read.decoded == 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, read_pixels(path))
    another_run = Reading(ImageCache(tmp_path / "cache", 1))
    np.testing.assert_array_equal(another_run(path), first)
    assert another_run.decoded == 0


def test_writing_into_what_was_read_changes_nothing_in_the_cache(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(ImageCache(tmp_path / "cache", 1))
    read(path)
    read(path)[...] = 0
    assert read(path).any()
    assert read.decoded == 1


def test_another_side_or_box_is_another_entry(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    cache = ImageCache(tmp_path / "cache", 1)
    assert Reading(cache)(path, 10).shape == (10, 13, 3)
    assert Reading(cache)(path, 12).shape == (12, 16, 3)
    assert Reading(cache)(path, 20).shape == (30, 40, 3)
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
    read = Reading(ImageCache(tmp_path / "cache", 1))
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
    read = Reading(ImageCache(tmp_path / "cache", 1))
    for seed in range(40):
        photo(path, seed=seed % 2, settled=False)
        np.testing.assert_array_equal(read(path), read_pixels(path))
    assert len(records(tmp_path / "cache")) == len(stored(tmp_path / "cache")) == 2


def test_a_touched_or_copied_photo_is_found_again_by_its_bytes(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    read = Reading(ImageCache(tmp_path / "cache", 1))
    read(path)
    path.touch()
    read(path)
    read(Path(shutil.copy(path, tmp_path / "b.bmp")))
    assert read.decoded == 1
    assert len(stored(tmp_path / "cache")) == 1


def test_a_bad_photo_is_told_each_time_and_not_kept(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.bmp")
    path.write_bytes(path.read_bytes()[:200])
    read = Reading(ImageCache(tmp_path / "cache", 1))
    for _ in range(2):
        with pytest.raises(BadImageError, match=r"a\.bmp"):
            read(path)
    with pytest.raises(BadImageError, match="file not found"):
        read(tmp_path / "missing.bmp")
    assert stored(tmp_path / "cache") == []


def test_a_photo_too_large_to_hash_is_read_without_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.image_io._WHOLE_BYTES", 100)
    path = photo(tmp_path / "a.bmp")
    read = Reading(ImageCache(tmp_path / "cache", 1))
    assert read(path).shape == read(path).shape == (30, 40, 3)
    assert read.decoded == 2


def flipped(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 1
    return bytes(changed)


def damages() -> dict[str, tuple[str, Callable[[bytes], bytes], int]]:
    """File of the cache, what happens to it, and how often the photo has to be decoded then."""
    record = RECORD.size
    return {
        "pixels gone": (PIXELS, lambda data: data[:0], 1),
        "half of the pixels": (PIXELS, lambda data: data[: len(data) // 2], 1),
        "a byte of the pixels changed": (PIXELS, lambda data: flipped(data, 500), 1),
        "a block of the pixels lost": (PIXELS, lambda data: data[:100] + bytes(512) + data[612:], 1),
        "pixels never written": (PIXELS, lambda data: bytes(len(data)), 1),
        "half-written pixels behind": (PIXELS, lambda data: data + b"x" * 1234, 0),
        "index gone": (INDEX, lambda data: data[:0], 1),
        "index never written": (INDEX, lambda data: bytes(len(data)), 1),
        "both records changed": (INDEX, lambda data: flipped(data, 30, record + 30), 1),
        "one record changed": (INDEX, lambda data: flipped(data, record + 30), 0),
        "one record cut": (INDEX, lambda data: data[:-7], 0),
        "half a record behind": (INDEX, lambda data: data + data[:20], 0),
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_entry_is_never_served_and_is_mended(tmp_path: Path, damage: str) -> None:
    paths = [photo(tmp_path / f"{n}.bmp", seed=n) for n in range(2)]
    Reading(ImageCache(tmp_path / "cache", 1))(paths[0])
    name, change, decoded = damages()[damage]
    file = tmp_path / "cache" / name
    file.write_bytes(change(file.read_bytes()))
    for expected in (decoded + 1, 0):  # the second photo is new the first time
        read = Reading(ImageCache(tmp_path / "cache", 1))
        for path in paths * 2:
            np.testing.assert_array_equal(read(path), read_pixels(path))
        assert read.decoded == expected


def test_a_large_photo_is_kept_reduced_and_one_hardly_larger_as_it_is() -> None:
    large = np.random.default_rng(0).integers(0, 256, (300, 450, 3), dtype=np.uint8)
    assert reduced(large, 100).shape == (100, 150, 3)
    assert reduced(large, 150) is large
    assert reduced(large, None) is large
    assert reduced(np.zeros((3, 20000, 3), np.uint8), 100).shape == (3, 20000, 3)
    flat = np.full((300, 450, 3), (10, 200, 30), np.uint8)
    assert (reduced(flat, 100) == (10, 200, 30)).all()


@pytest.mark.parametrize("size", [(640, 480), (250, 333)])
def test_a_jpeg_has_the_pixels_that_it_has_without_a_cache(tmp_path: Path, size: tuple[int, int]) -> None:
    """Decoding at 1/2, 1/4 or 1/8 is all the reducing there is, so training learns from the same pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path)
    settle()
    read = Reading(ImageCache(tmp_path / "cache", 1))
    for side in (31, 64, 121, 128, 241, 300, 480):
        plain = read_pixels(path, min_side=side)
        for _ in range(2):
            np.testing.assert_array_equal(read(path, side), plain)
    assert read.decoded == 7
