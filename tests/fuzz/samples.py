"""Small whole files that readers are fed with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE = 24


def picture(seed: int = 0, side: int = SIDE) -> Image.Image:
    """A few colours."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side // 4, side // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels.repeat(4, 0).repeat(4, 1))


def encoded(kind: str, seed: int = 0, **how: Any) -> bytes:
    """A picture in a file format."""
    packed = io.BytesIO()
    picture(seed).save(packed, kind, **how)
    return packed.getvalue()


def photos(folder: Path, *names: str) -> None:
    """Pictures under some names."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded("PNG", number))


def with_gps() -> bytes:
    """A JPEG with a position and a time in its EXIF."""
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0), 29: "2020:01:02"}
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05", 0x9011: "+01:00"}
    exif[0x0112] = 6
    return encoded("JPEG", exif=exif)


def parquet(columns: dict[str, list[Any]]) -> bytes:
    """A table as a file."""
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    return packed.getvalue()


def text(*lines: str) -> bytes:
    """Lines as a file."""
    return ("\n".join(lines) + "\n").encode()
