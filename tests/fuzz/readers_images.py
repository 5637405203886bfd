"""Readers of images, of their EXIF, and of tables."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from datasets.geo.geotags import NoPositionError, read_geotag, taken_at
from datasets.geo.position_tables import read_positions
from datasets.image_io import image_size, read_pixels
from datasets.tables import read_table
from fuzz.containers import of_parquet
from fuzz.mutators import of_bytes, of_text
from fuzz.runner import Reader, below
from fuzz.samples import SIDE, encoded, parquet, picture, text, with_gps


def _images(root: Path) -> Iterator[Reader]:
    def read(path: Path) -> object:
        image_size(path)
        return read_pixels(path), read_pixels(path, min_side=16, box=(1, 1, 20, 20))

    def tags(path: Path) -> object:
        taken_at(path)
        try:
            return read_geotag(path)
        except NoPositionError:
            return None

    kinds: dict[str, list[bytes]] = {
        "jpeg": [encoded("JPEG"), encoded("JPEG", progressive=True), with_gps(), _grey("JPEG")],
        "png": [encoded("PNG"), _grey("PNG"), _with_alpha(), _palette("PNG"), _deep()],
        "webp": [encoded("WEBP"), encoded("WEBP", lossless=True)],
        "gif": [_palette("GIF")],
        "bmp": [encoded("BMP")],
        "tiff": [
            encoded("TIFF"),
            encoded("TIFF", compression="tiff_lzw"),
            encoded("TIFF", compression="jpeg"),
        ],
        "jp2": [encoded("JPEG2000")],
        "avif": [encoded("AVIF")],
    }
    for kind, seeds in kinds.items():
        yield below(f"image {kind}", root / kind / f"photo.{kind}", seeds, read, of_bytes)
    heic = _heic()
    if heic:
        yield below("image heic", root / "heic" / "photo.heic", [heic], read, of_bytes)
    yield below("EXIF", root / "exif" / "photo.jpg", [with_gps()], tags, _of_exif)


def _of_exif(data: bytes, rng: Any) -> bytes:
    """The damage falls on the EXIF, in the first bytes of the file."""
    return of_bytes(data[:400], rng) + data[400:]


def _grey(kind: str) -> bytes:
    packed = io.BytesIO()
    ImageOps.grayscale(picture()).save(packed, kind)
    return packed.getvalue()


def _with_alpha() -> bytes:
    packed, image = io.BytesIO(), picture().convert("RGBA")
    image.putalpha(90)
    image.save(packed, "PNG")
    return packed.getvalue()


def _palette(kind: str) -> bytes:
    packed = io.BytesIO()
    picture().convert("P").save(packed, kind, transparency=0)
    return packed.getvalue()


def _deep() -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)).save(packed, "PNG")
    return packed.getvalue()


def _heic() -> bytes | None:
    try:
        import pi_heif
    except ImportError:
        return None
    packed = io.BytesIO()
    try:
        pi_heif.from_pillow(picture(side=64)).save(packed, format="HEIF")
    except Exception:  # the library is built without an encoder
        return None
    return packed.getvalue()


def _tables(root: Path) -> Iterator[Reader]:
    rows = {"path": ["a.jpg", "b.jpg", "c.jpg"], "lat": [48.8, -33.9, 0.5], "lon": [2.3, 151.2, 10.0]}
    lines = ["path,lat,lon", *(f"{p},{x},{y}" for p, x, y in zip(*rows.values(), strict=True))]
    degrees = text("path;lat;lon", "a.jpg;48° 51' 30\" N;2° 17' E", 'b.jpg;"-33.9";151.2')
    captions = text("image,caption", '1.jpg,"two', 'lines"', "2.jpg,a;b")
    csv = [text(*lines), degrees, captions, text(*lines).decode().encode("utf-16")]
    yield below("tables CSV", root / "csv" / "t.csv", csv, read_table, of_text)
    yield below("tables Parquet", root / "parquet" / "t.parquet", [parquet(rows)], read_table, of_parquet)
    yield below("positions CSV", root / "positions" / "p.csv", csv[:2], read_positions, of_text)
    yield below("positions Parquet", root / "pq" / "p.parquet", [parquet(rows)], read_positions, of_parquet)


def readers(root: Path) -> Iterator[Reader]:
    """All of them, their files below a folder."""
    for make in (
        _images,
        _tables,
    ):
        yield from make(root / make.__name__.strip("_"))
