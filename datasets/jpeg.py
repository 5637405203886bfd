"""The short way for JPEGs, libjpeg-turbo without Pillow around it; and which images would make long work."""

from __future__ import annotations

import io
import math
import mmap
import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

END = b"\xff\xd9"
ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations of which height and width change places
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
SCAN = b"\xff\xda"
MOST_SCANNED = 2_500_000_000  # pixels of all scans together: five seconds; a usual file has ten scans
MOST_PIXELS_OF = {"JPEG2000": 1 << 26}  # slow to decode: a second for 20 million pixels
_MARK = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not what stands within the bytes of a scan
MIN_REDUCED = 64  # pixels; in smaller ones two of the decoder's scales can give the same size
_COLOURS = ("YCbCr", "RGB", "Gray")
_MAY_TURN = (b"Exif\0", b"tiff:Orientation")


@cache
def _decoder() -> ModuleType | None:
    """The optional package simplejpeg, or None: Pillow then decodes, to the same pixels."""
    try:
        import simplejpeg
    except ImportError:
        return None
    module: ModuleType = simplejpeg
    return module


def jpeg_pixels(data: bytes, min_side: int | None, box: Box | None, max_pixels: int) -> Pixels | None:
    """The pixels of a plain JPEG, or None for whatever else Pillow has to read or to refuse.

    Args:
        data: of any file.
        min_side: pixels that the short side keeps when it is decoded smaller.
        box: (x1, y1, x2, y2) pixels to cut out, in the frame as stored.
        max_pixels: larger ones are not decoded.

    Shape:
        returns: (H, W, 3) uint8, upright, contiguous.
    """
    decoder = _decoder()
    if decoder is None or data[:2] != b"\xff\xd8":
        return None
    try:
        height, width, colours, _ = decoder.decode_jpeg_header(data)
        if colours not in _COLOURS or width * height > max_pixels or too_many_scans(data, width * height):
            return None
        inside = clip_box(box, (width, height))
        divisor = 1 if min_side is None else scale_divisor((width, height), min_side, inside)
        if inside is None or (divisor > 1 and min(width, height) < MIN_REDUCED):
            return None
        pixels: Pixels = decoder.decode_jpeg(
            data, "RGB", fastdct=False, fastupsample=False, strict=True,
            min_width=-(-width // divisor), min_height=-(-height // divisor),
        )
    except (ValueError, RuntimeError, MemoryError):  # cut off or odd: Pillow says whether it is good enough
        return None
    if box is not None:
        size = (pixels.shape[1], pixels.shape[0])
        x1, y1, x2, y2 = scale_box(inside, size[0] / width, size[1] / height, size)
        pixels = pixels[y1:y2, x1:x2]
    turn = UPRIGHT.get(_orientation(data)) if any(word in data for word in _MAY_TURN) else None
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))


def too_long_work(path: Path, data: bytes | None, image: Image.Image) -> str | None:
    """Why an image that Pillow has opened would take too long for its bytes; None where it would not.

    Args:
        path: of the file.
        data: its bytes, where they are at hand.
        image: not decoded yet.
    """
    pixels = math.prod(image.size)
    if pixels > (most := MOST_PIXELS_OF.get(image.format or "", pixels)):
        return f"{pixels} pixels, above the limit of {most} of {image.format}; make a smaller copy"
    if image.format == "TIFF":
        parts = [box for _, box, *_ in getattr(image, "tile", ())]
        held = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in parts)
        return None if held >= pixels else f"damaged or cut off: it holds {held} of its {pixels} pixels"
    if image.format not in ("JPEG", "MPO"):
        return None
    if data is not None:
        costly = too_many_scans(data, pixels)
    else:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            costly = too_many_scans(content, pixels)
    return "more scans than any camera or program writes; save it again" if costly else None


def too_many_scans(data: bytes | mmap.mmap, pixels: int) -> bool:
    """Whether a JPEG goes over its pixels so often that decoding it would take more than seconds.

    A progressive file may have any number of scans of a few bytes: 40 KB can keep a processor for a minute.

    Args:
        data: of the file.
        pixels: that it has.
    """
    most = max(MOST_SCANNED // max(pixels, 1), 1)
    count, at = 0, data.find(SCAN)
    while at >= 0 and count <= most:  # also what only looks like a scan, in a thumbnail or behind the end
        count, at = count + 1, data.find(SCAN, at + 2)
    return count > most and _scans(data, most) > most


def _scans(data: bytes | mmap.mmap, most: int) -> int:
    """How many scans the image has, counted no further than one above ``most``."""
    count, mark = 0, _MARK.search(data, 2)
    while mark is not None and count <= most and data[mark.end() - 1] != END[1]:
        count += mark[0] == SCAN
        length = int.from_bytes(data[mark.end() : mark.end() + 2], "big")
        mark = _MARK.search(data, mark.end() + length)
    return count


def with_end(data: bytes, max_pixels: int) -> bytes | None:
    """A JPEG that lacks nothing but its end mark, with it; None where pixels are missing, too.

    Cameras' cards and broken transfers leave such files: the mark is two bytes, and decoders ask for it.

    Args:
        data: of any file.
        max_pixels: larger ones are not decoded.
    """
    mended = data.rstrip(b"\0") + END
    if data[:2] != b"\xff\xd8" or data.endswith(END) or jpeg_pixels(mended, None, None, max_pixels) is None:
        return None
    return mended


def clip_box(box: Box | None, size: tuple[int, int]) -> Box | None:
    """The part of a box inside a picture of (width, height), the whole for no box; None if there is none."""
    x1, y1, x2, y2 = box or (0, 0, *size)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, size[0]), min(y2, size[1])
    return None if x1 >= x2 or y1 >= y2 else (x1, y1, x2, y2)


def scale_divisor(size: tuple[int, int], min_side: int, box: Box | None) -> int:
    """How many times smaller, 1, 2, 4 or 8, a JPEG may be decoded."""
    x1, y1, x2, y2 = box or (0, 0, *size)
    short = min(x2 - x1, y2 - y1)
    return next((divisor for divisor in (8, 4, 2) if short // divisor >= min_side), 1)


def scale_box(box: Box, across: float, down: float, size: tuple[int, int]) -> Box:
    """The box in a picture decoded smaller; never thinner than one pixel."""
    x1, y1 = min(int(box[0] * across), size[0] - 1), min(int(box[1] * down), size[1] - 1)
    x2, y2 = -int(-box[2] * across // 1), -int(-box[3] * down // 1)
    return x1, y1, min(max(x2, x1 + 1), size[0]), min(max(y2, y1 + 1), size[1])


def _orientation(data: bytes) -> int:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return orientation(image)


def orientation(image: Image.Image) -> int:
    """EXIF's 1 to 8; 1 where it cannot be read: that says nothing about the pixels."""
    try:
        value: int = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return value
