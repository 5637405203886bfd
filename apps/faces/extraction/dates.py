"""When a photo was taken, as its EXIF says."""

from __future__ import annotations

from datetime import datetime

from PIL import Image

EXIF_FOLDER, ORIGINAL, DIGITISED, CHANGED = 0x8769, 0x9003, 0x9004, 0x0132


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
