"""Small files that would make long work: each is refused, or read, within a bound."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.image_io import BadImageError, read_pixels
from datasets.jpeg import MOST_SCANNED, SCAN, too_many_scans


def saved(kind: str, image: Image.Image, **how: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, kind, **how)
    return packed.getvalue()


def with_scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan is there some more times."""
    data = saved("JPEG", Image.new("RGB", (side, side)), progressive=True)
    return data[:-2] + data[data.rindex(SCAN) : -2] * count + data[-2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(extra: bytes) -> bytes:
    data = saved("PNG", Image.new("RGB", (8, 8)))
    return data[:33] + extra + data[33:]


def tiff_of_few_rows() -> bytes:
    """Its heading claims two million rows; there are bytes for 24."""
    data = saved("TIFF", Image.new("RGB", (24, 24)))
    entry = struct.pack("<HHI", 257, 4, 1)
    at = data.find(entry)
    assert at > 0
    return data[: at + 8] + struct.pack("<I", 2_097_176) + data[at + 12 :]


def many(kind: str, **how: object) -> bytes:
    frames = [Image.fromarray(np.full((64, 64, 3), n % 250, np.uint8)) for n in range(400)]
    return saved(kind, frames[0], save_all=True, append_images=frames[1:], **how)


BOMBS = {
    "scans.jpg": (lambda: with_scans(2000, 1000), "more scans than any camera"),
    "text.png": (lambda: png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26)))), "too large"),
    "texts.png": (lambda: png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6))) * 200), "text"),
    "profile.png": (lambda: png_with(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(1 << 26)))), "too large"),
    "rows.tiff": (tiff_of_few_rows, "it holds 576 of its 50332224 pixels"),
    "side.jp2": (lambda: saved("JPEG2000", Image.new("L", (8200, 8200))), "above the limit of 67108864 of"),
    "frames.gif": (lambda: many("GIF"), None),
    "frames.webp": (lambda: many("WEBP"), None),
    "frames.tiff": (lambda: many("TIFF"), None),
    "frames.png": (lambda: many("PNG"), None),
    "tiles.jp2": (lambda: saved("JPEG2000", Image.new("RGB", (400, 400)), tile_size=(8, 8)), None),
    "scans-few.jpg": (lambda: with_scans(64, 1000), None),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_is_refused_before_long_work_or_read_in_little(name: str, tmp_path: Path) -> None:
    make, reason = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    assert path.stat().st_size < 6 << 20
    if reason is None:
        assert read_pixels(path).shape[2] == 3
    else:
        with pytest.raises(BadImageError, match=reason):
            read_pixels(path)


def test_scans_are_those_of_the_image_and_not_bytes_that_look_like_one() -> None:
    whole = with_scans(64, 0)
    many_pixels = MOST_SCANNED // 20
    assert not too_many_scans(whole, many_pixels)
    assert not too_many_scans(whole + SCAN * 1000, many_pixels)  # behind the end, as a film of a camera is
    comment = b"\xff\xfe" + (2 + 2000).to_bytes(2, "big") + SCAN * 1000
    assert not too_many_scans(whole[:2] + comment + whole[2:], many_pixels)
    assert too_many_scans(with_scans(64, 1000), many_pixels)
