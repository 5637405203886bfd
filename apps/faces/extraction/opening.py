"""Photos of a table of faces in memory: opened by what lists them, or by the name that a table keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image

from apps.faces.extraction.sources import Source, hash_file, source_by_name
from datasets.image_io import BadImageError, open_header, read_bytes, read_pixels
from datasets.video import Frame, frames_at

DECODED_PX = 1024  # a JPEG may be decoded smaller as long as its short side keeps this many pixels
LONGEST_PX = 3072  # no working copy of a photo is longer, whatever its format
EXIF_FOLDER, ORIGINAL, DIGITISED, CHANGED = 0x8769, 0x9003, 0x9004, 0x0132  # numbers of EXIF


@dataclass(frozen=True)
class Opened:
    """A photo in memory.

    Args:
        image: RGB and upright; a large one is decoded or shrunk to a working size.
        enlarge: pixels of the photo on one of ``image``.
        sha256: of the photo's bytes, in hex.
        date: when it was taken, as EXIF says, in ISO 8601; None where it does not.
    """

    image: Image.Image
    enlarge: float
    sha256: str
    date: str | None = None


def open_source(source: Source) -> Opened:
    """Read a photo and hash its bytes.

    Raises:
        BadImageError: it is missing, damaged, too large or no photo; names the photo, not a copy of it.
    """
    if source.time is not None or source.frame is not None:
        return _open_frame(source)
    with source.file() as path:
        try:
            data = read_bytes(path, only_jpeg=True)
            digest = hash_file(path) if data is None else hashlib.sha256(data).hexdigest()
            longer, date = _header(path, data)
            image = Image.fromarray(read_pixels(path, min_side=DECODED_PX, data=data))
        except BadImageError as err:
            raise BadImageError(source.name, err.reason) from err
    return _opened(image, longer, digest, date)


def _opened(image: Image.Image, longer: int, digest: str, date: str | None) -> Opened:
    """A photo that was ``longer`` pixels on its longer side, no larger than a working copy may be."""
    if max(image.size) > LONGEST_PX:
        image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Opened(image, longer / max(image.size), digest, date)


def _open_frame(source: Source) -> Opened:
    """A frame that was read, or is now.

    Raises:
        BadImageError: it cannot be read.
    """
    frame = source.frame
    if frame is None and source.time is not None:
        ((_, frame),) = frames_at(source.path, [source.time])
    if not isinstance(frame, Frame):
        raise BadImageError(source.name, frame.reason if frame is not None else "holds no frame")
    image = Image.fromarray(frame.pixels)
    return _opened(image, max(image.size), source.sha256(), None)


def _header(path: Path, data: bytes | None) -> tuple[int, str | None]:
    """The longer side of the photo as stored, in pixels, and when it was taken.

    The side is 0 where the header cannot be read, which decoding will explain.
    """
    try:
        with open_header(path, data) as image:
            return max(image.size), date_taken(image)
    except BadImageError:
        return 0, None


def open_by_name(name: str) -> Opened:
    """A photo by the name that a table keeps, such as for a thumbnail.

    Raises:
        OSError: its shard is gone.
        ValueError: it cannot be read or is in its shard no longer.
    """
    return open_source(source_by_name(name))


def date_taken(image: Image.Image) -> str | None:
    """When a photo was taken, in the camera's local time, as ISO 8601 to the second; None where unknown.

    Args:
        image: opened; its pixels need not be decoded.
    """
    try:
        exif = image.getexif()
        inner = exif.get_ifd(EXIF_FOLDER)
    except Exception:  # damaged EXIF raises what it likes, and the photo is good all the same
        return None
    for text in (inner.get(ORIGINAL), inner.get(DIGITISED), exif.get(CHANGED)):
        date = _parsed(text)
        if date is not None:
            return date
    return None


def _parsed(text: object) -> str | None:
    if text is None:
        return None
    try:
        return datetime.strptime(str(text).strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return None
