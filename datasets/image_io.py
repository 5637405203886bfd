"""Photos from disk: read upright and in RGB, or refused in one line."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from datasets.file_kinds import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    IMAGES,
    first_bytes,
    image_kind,
    is_image_name,
    other_kind,
)
from datasets.folders import find_images, list_photos, warn
from datasets.jpeg import (
    SIDEWAYS,
    UPRIGHT,
    Box,
    Pixels,
    clip_box,
    jpeg_pixels,
    orientation,
    scale_box,
    scale_divisor,
    too_long_work,
    with_end,
)
from datasets.outside import words_of
from datasets.packed import packed_bytes

__all__ = [
    "DECODER", "IMAGE_SUFFIXES", "MAX_PIXELS", "SIDEWAYS", "BadImageError", "Box", "Pixels", "find_images",
    "image_size", "list_photos", "open_header", "read_bytes", "read_image", "read_pixels", "stored_size",
]

MAX_PIXELS = 178_956_970  # what Pillow refuses by default: 512 MiB of RGB

DECODER = f"2 {PIL.__version__}"  # changes whenever the pixels of a photo may come out otherwise

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "DIB")
_WHOLE_BYTES = 1 << 28  # larger files are left to Pillow, which reads no more of them than it needs


def _too_large(size: str) -> str:
    return f"{size}, above the limit of {MAX_PIXELS} pixels; make a smaller copy"


_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "file not found",
    PermissionError: "no permission to read this file",
    Image.DecompressionBombError: _too_large("too many pixels"),
    UnidentifiedImageError: f"not a photo in a known format ({', '.join(name for name, _ in IMAGES)})",
    MemoryError: "not enough memory to decode it",
}


class BadImageError(ValueError):
    """An image that cannot be read; ``path`` and ``reason`` are each fit for one line."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[type[BadImageError], tuple[Path, str]]:
        """Let the error cross from a worker process."""
        return BadImageError, (self.path, self.reason)


def read_image(path: Path | str, *, min_side: int | None = None, box: Box | None = None) -> Image.Image:
    """An image in RGB and upright, whatever its format, colours and EXIF orientation.

    Transparent pixels come out white, animations give their first frame.

    Args:
        path: a JPEG, PNG, WebP, HEIC, AVIF, JPEG 2000, BMP, GIF or TIFF file, known by its content and not by
            its name; a JPEG that lacks nothing but its end mark is read, and that is logged.
        min_side: 1 or more pixels; lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its scale as long as
            its short side (that of the box, if there is one) stays at least this long.
        box: (x1, y1, x2, y2) pixels to cut out, in the frame of the pixels as stored, before any
            rotation by EXIF (in a TIFF or a HEIC: after it); the part outside the photo is dropped.

    Returns:
        An RGB picture of 1 x 1 pixels or more.

    Raises:
        BadImageError: the file is missing, no image, damaged, too large, or the box lies outside.
        ValueError: min_side is below 1.
    """
    return Image.fromarray(read_pixels(path, min_side=min_side, box=box))


def read_pixels(
    path: Path | str, *, min_side: int | None = None, box: Box | None = None, data: bytes | None = None
) -> Pixels:
    """The pixels of :func:`read_image` as an array of its own; a JPEG comes by a shorter way where it can.

    Args:
        path: see :func:`read_image`.
        min_side: see :func:`read_image`.
        box: see :func:`read_image`.
        data: the bytes of the file, where they are at hand; it is not opened then.

    Shape:
        returns: (H, W, 3) uint8, contiguous and writable.

    Raises:
        BadImageError: as :func:`read_image`.
        ValueError: min_side is below 1.
    """
    if min_side is not None and min_side < 1:
        raise ValueError(f"min_side must be 1 pixel or more, got {min_side}")
    path = Path(path)
    if data is None:
        data = read_bytes(path, only_jpeg=True)
    fast = None if data is None else jpeg_pixels(data, min_side, box, MAX_PIXELS)
    if fast is not None:
        return fast
    try:
        return _pillow_pixels(path, data, min_side, box)
    except BadImageError:
        mended = None if data is None else with_end(data, MAX_PIXELS)
        if mended is None:
            raise
        warn([f"{path} lacks its last bytes, but no row of pixels: it is read"])
        return read_pixels(path, min_side=min_side, box=box, data=mended)


def read_bytes(path: Path, *, only_jpeg: bool = False) -> bytes | None:
    """A file's bytes; None for one above 256 MiB.

    Args:
        path: the file.
        only_jpeg: None also for everything that does not begin as a JPEG, unless it lies in another file.

    Raises:
        BadImageError: it is missing, may not be read, is empty or no regular file.
    """
    data = _packed(path)
    if data is not None:
        return data
    try:
        with _regular_file(path).open("rb", buffering=0) as file:
            odd = only_jpeg and file.read(2) != b"\xff\xd8"
            if odd or os.fstat(file.fileno()).st_size > _WHOLE_BYTES:
                return None
            file.seek(0)
            return file.read()
    except OSError as error:
        raise BadImageError(path, _reason(error)) from error


def _pillow_pixels(path: Path, data: bytes | None, min_side: int | None, box: Box | None) -> Pixels:
    source, head = (path, first_bytes(path)) if data is None else (io.BytesIO(data), data)
    with _one_line_errors(path, data), _opened(path, source, head) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadImageError(path, _too_large(f"{width} x {height} pixels"))
        inside = clip_box(box, image.size)
        if inside is None:
            raise BadImageError(path, f"box {box} holds no pixel of this photo of {width} x {height}")
        if min_side is not None:
            divisor = scale_divisor(image.size, min_side, inside)
            image.draft(None, (width // divisor, height // divisor))
        if (reason := too_long_work(path, data, image)) is not None:
            raise BadImageError(path, reason)
        image.load()
        pixels: Pixels = np.array(_to_rgb(path, image))
        if box is not None:
            x1, y1, x2, y2 = scale_box(inside, image.width / width, image.height / height, image.size)
            pixels = pixels[y1:y2, x1:x2]
        turn = UPRIGHT.get(orientation(image))
        return np.ascontiguousarray(pixels if turn is None else turn(pixels))


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of an image held upright, from its header.

    Raises:
        BadImageError: the file is missing or no image.
    """
    width, height, turn = stored_size(path)
    return (height, width) if turn in SIDEWAYS else (width, height)


def stored_size(path: Path) -> tuple[int, int, int]:
    """(width, height) in pixels of an image as stored, and EXIF's orientation: how it comes upright.

    Raises:
        BadImageError: the file is missing or no image.
    """
    with open_header(path) as image:
        width, height = image.size  # Pillow turns a TIFF by itself, pi-heif a HEIC
        return width, height, 1 if image.format == "TIFF" else orientation(image)


@contextmanager
def open_header(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """A photo whose pixels are not decoded yet, for its size and EXIF; ``data`` where its bytes are at hand.

    Raises:
        BadImageError: the file is missing or no photo; also what goes wrong while it is open.
    """
    data = _packed(path) if data is None else data
    source, head = (path, first_bytes(path)) if data is None else (io.BytesIO(data), data)
    with _one_line_errors(path), _opened(_there(path, data), source, head) as image:
        yield image


def _there(path: Path, data: bytes | None) -> Path:
    return path if data is not None else _regular_file(path)


def _packed(path: Path) -> bytes | None:
    """The bytes of a photo in a tar shard or a Parquet file; None for a file of its own."""
    try:
        return packed_bytes(path)
    except (OSError, ValueError, MemoryError) as error:
        raise BadImageError(path, words_of(error)) from error


def _opened(path: Path, source: Path | io.BytesIO, head: bytes) -> Image.Image:
    """Pillow's image of a file in a known format; HEIC by pi-heif, which is loaded where one comes."""
    if image_kind(head[:HEAD_BYTES]) != "HEIC":
        return Image.open(source, formats=_FORMATS)
    try:
        import pi_heif
    except ImportError as error:
        raise BadImageError(path, "a HEIC file: pip install pi-heif, or save it as JPEG") from error
    pi_heif.register_heif_opener(thumbnails=False)
    return Image.open(source, formats=("HEIF",))


@contextmanager
def _one_line_errors(path: Path, data: bytes | None = None) -> Iterator[None]:
    """Pillow's many exceptions as one of ours, and its warnings unheard; ``data`` where it is at hand."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except BadImageError:
        raise
    except Exception as error:  # broken bytes surface as SyntaxError, struct.error, KeyError and others
        head = first_bytes(path) if data is None else data[:HEAD_BYTES]
        kind = other_kind(head) if isinstance(error, UnidentifiedImageError) else None
        suffix = path.suffix if is_image_name(path.name) else ""
        named = f" named {suffix}" if suffix else ""
        reason = f"not a photo but {kind.replace(';', f'{named};', 1)}" if kind else _reason(error)
        raise BadImageError(path, reason) from error


def _reason(error: Exception) -> str:
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"damaged or cut off: {error or type(error).__name__}"


def _regular_file(path: Path) -> Path:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise BadImageError(path, "a folder, not a photo")
    if not stat.S_ISREG(status.st_mode):
        raise BadImageError(path, "not a regular file")
    if status.st_size == 0:
        raise BadImageError(path, "the file is empty")
    return path


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _deep_grey(path, image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _deep_grey(path: Path, image: Image.Image) -> Image.Image:
    """Grey of 16 bits a pixel as 8 bits; Pillow's ``convert`` would clip at 255 instead."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise BadImageError(path, f"pixels of mode {image.mode} have no known range; save it as 8 or 16 bits")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
