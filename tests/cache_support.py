"""Photos read through a cache, with a clock that the tests can move on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from PIL import Image

from apps.engine.data.cache import PhotoCache
from datasets.image_io import Pixels, read_pixels


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


def stored(root: Path) -> list[Path]:
    return sorted(path for path in (root / "pixels").rglob("*") if path.is_file())


def links(root: Path) -> list[Path]:
    return sorted(path for path in (root / "known").rglob("*") if path.is_symlink())
