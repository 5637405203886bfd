"""Photos read through a cache, with a clock that the tests can move on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from PIL import Image

from apps.engine.data.cache import ImageCache
from apps.engine.data.pixel_store import KEY_BYTES, Entry, PixelStore
from datasets.image_io import Pixels, read_pixels


class Reading:
    """Photos of a folder read through a cache, with a count of how many were decoded."""

    def __init__(self, cache: ImageCache) -> None:
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


def records(root: Path) -> list[Entry]:
    """Where each key of a cache leads."""
    store = PixelStore(root, 1)
    store.get(bytes(KEY_BYTES))  # reads the index
    return list(store.entries.values())


def stored(root: Path) -> list[Entry]:
    """Each photo's pixels in a cache, in the order they were added."""
    return sorted(set(records(root)), key=lambda entry: entry[2])
