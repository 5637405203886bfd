"""Photos as the input of a model, without torch: the pixels of ``engine.data.transforms`` to one level."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.image_io import BadImageError, Pixels, read_pixels
from datasets.video import Frame

GREY = 128  # beside an image that is padded
MAX_ASPECT = 8  # longer photos keep their middle; as in transforms.tame

ImageLike = str | Path | bytes | Image.Image | Pixels | Frame | BadImageError


def pixels_of(image: ImageLike) -> Pixels:
    """(H, W, 3) uint8 RGB of an image: a path, the bytes of a file, an array, a picture or a frame.

    Raises:
        BadImageError: it cannot be read, or is none.
    """
    if isinstance(image, BadImageError):
        raise image
    if isinstance(image, bytes):
        return read_pixels(Path("image"), data=image)
    if isinstance(image, str | Path):
        return read_pixels(Path(image))
    if isinstance(image, Frame):
        return image.pixels
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BadImageError("array", f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return image


def read_square(
    path: Path, resolution: int, crop: float, resize: str = "crop", *, data: bytes | None = None
) -> tuple[Pixels, tuple[int, int]]:
    """The middle of a photo, or all of it, and its size as read.

    Args:
        path: of the photo.
        resolution: side of the result in pixels.
        crop: share of the resized short side that is kept, (0, 1].
        resize: ``crop``, ``squash`` or ``pad``; the last two read an image at its full size,
            which boxes are given in.
        data: the bytes of the file, where they are at hand; it is not opened then.

    Shape:
        returns: (resolution, resolution, 3) uint8 RGB, and (width, height).

    Raises:
        BadImageError: it cannot be read.
    """
    whole = resize != "crop"
    pixels = read_pixels(path, min_side=None if whole else 2 * math.ceil(resolution / crop), data=data)
    return square(pixels, resolution, crop, resize), (pixels.shape[1], pixels.shape[0])


def square(pixels: Pixels, resolution: int, crop: float, resize: str = "crop") -> Pixels:
    """Resize the short side to resolution / crop, bilinear with antialiasing, then the central square.

    Only those pixels are made that the square shows. ``squash`` brings the whole image onto the square,
    ``pad`` at the top left with its shape kept, the rest grey.

    Shape:
        pixels: (H, W, 3) uint8.
        returns: (resolution, resolution, 3) uint8.
    """
    if resize == "squash":
        return _resized(pixels, resolution, (0, 0, pixels.shape[1], pixels.shape[0]))
    if resize == "pad":
        return _padded(pixels, resolution)
    pixels = _tame(pixels)
    height, width = pixels.shape[:2]
    side, short = math.floor(resolution / crop), min(height, width)
    high, wide = side * height // short, side * width // short
    top, left = round((high - resolution) / 2), round((wide - resolution) / 2)
    box = (
        left * width / wide, top * height / high,
        (left + resolution) * width / wide, (top + resolution) * height / high,
    )
    return _resized(pixels, resolution, box)


def _padded(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    out = np.full((side, side, 3), GREY, np.uint8)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    out[: size[1], : size[0]] = np.asarray(small)
    return out


def _resized(pixels: Pixels, side: int, box: tuple[float, float, float, float]) -> Pixels:
    """A part of a photo at side x side pixels: rows are shortened first, as torch and the page do it.

    Pillow in one call begins with the columns of some tall photos from version 13 on, and rounds otherwise.
    """
    left, top, right, low = box
    reach = max((low - top) / side, 1) + 1  # of the filter along a column
    first, last = max(math.floor(top - reach), 0), min(math.ceil(low + reach), len(pixels))
    picture = Image.fromarray(pixels)
    narrow = picture.resize((side, last - first), Image.Resampling.BILINEAR, (left, first, right, last))
    inner = (0, top - first, side, low - first)
    return np.asarray(narrow.resize((side, side), Image.Resampling.BILINEAR, inner))


def _tame(pixels: Pixels) -> Pixels:
    for axis in (0, 1):
        size, longest = pixels.shape[axis], MAX_ASPECT * min(pixels.shape[:2])
        if size > longest:
            start = (size - longest) // 2
            pixels = pixels.take(range(start, start + longest), axis=axis)
    return pixels
