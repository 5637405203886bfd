"""Photos as a model's input, without torch: pixels of ``apps/engine/transforms.py`` to within one level."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.images import Pixels, read_pixels

MAX_ASPECT = 8  # longer photos keep their middle; as in transforms.tame


def read_square(path: Path, resolution: int, crop: float) -> tuple[Pixels, tuple[int, int]]:
    """The middle of a photo, and its size as read.

    Args:
        path: of the photo.
        resolution: side of the result in pixels.
        crop: share of the resized short side that is kept, (0, 1].

    Shape:
        returns: (resolution, resolution, 3) uint8 RGB, and (width, height).

    Raises:
        BadPhotoError: it cannot be read.
    """
    pixels = read_pixels(path, min_side=2 * math.ceil(resolution / crop))
    return square(pixels, resolution, crop), (pixels.shape[1], pixels.shape[0])


def square(pixels: Pixels, resolution: int, crop: float) -> Pixels:
    """Resize the short side to resolution / crop, bilinear with antialiasing, then the central square.

    Only those pixels are made that the square shows.

    Shape:
        pixels: (H, W, 3) uint8.
        returns: (resolution, resolution, 3) uint8.
    """
    pixels = _tame(pixels)
    height, width = pixels.shape[:2]
    side, short = math.floor(resolution / crop), min(height, width)
    high, wide = side * height // short, side * width // short
    top, left = round((high - resolution) / 2), round((wide - resolution) / 2)
    box = (
        left * width / wide, top * height / high,
        (left + resolution) * width / wide, (top + resolution) * height / high,
    )
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box))


def _tame(pixels: Pixels) -> Pixels:
    for axis in (0, 1):
        size, longest = pixels.shape[axis], MAX_ASPECT * min(pixels.shape[:2])
        if size > longest:
            start = (size - longest) // 2
            pixels = pixels.take(range(start, start + longest), axis=axis)
    return pixels
