"""Positions that cameras wrote into photos, EXIF GPS, read with distrust; else those beside the photos."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets.folders import find_images
from datasets.geo.positions import BEYOND_LAT, BEYOND_LON, ZERO, LeftOut, Positions
from datasets.geo.sidecars import position_beside, without_photo
from datasets.image_io import BadImageError, open_header

_GPS_IFD, _EXIF_IFD = 0x8825, 0x8769
_LAT_REF, _LAT, _LON_REF, _LON = 1, 2, 3, 4
_ARTIST, _TAKEN, _OFFSET, _OFFSET_TAKEN = 0x013B, 0x9003, 0x9010, 0x9011
_ZONE = re.compile(r"([+-])(0\d|1[0-4]):?([0-5]\d)")
_SIDES = {"N": 1, "NORTH": 1, "S": -1, "SOUTH": -1, "E": 1, "EAST": 1, "W": -1, "WEST": -1}


class NoPositionError(ValueError):
    """An image that tells no position; ``path`` and ``reason`` are each fit for one line."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[type[NoPositionError], tuple[Path, str]]:
        """Let the error cross from a worker process."""
        return NoPositionError, (self.path, self.reason)


@dataclass(frozen=True)
class Geotag:
    """What an image tells of where, when and by whom it was taken.

    Args:
        lat: degrees north, -90 to 90.
        lon: degrees east, -180 to 180.
        taken: ``YYYY:MM:DD HH:MM:SS`` of the camera's clock, or empty.
        author: EXIF's artist, or empty.
        source: where the position stands if not in EXIF.
    """

    lat: float
    lon: float
    taken: str = ""
    author: str = ""
    source: str = ""


def read_geotag(path: Path | str) -> Geotag:
    """The position in an image's EXIF, else in XMP or in the JSON of Google Takeout beside it.

    Args:
        path: an image that Pillow can open; its pixels are not read.

    Raises:
        NoPositionError: there is none, or none that can be trusted; the message says what is wrong.
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        exif, gps, more, xmp = _exif(path)
    taken, author = _text(more.get(_TAKEN)), _text(exif.get(_ARTIST))
    try:
        if not exif:
            raise ValueError("it has no EXIF")
        return Geotag(*position_of(gps), taken=taken, author=author)
    except ValueError as err:
        other = position_beside(path, xmp)
        if other is None or other.why:
            raise NoPositionError(path, f"{err}, and {other.why}" if other else str(err)) from err
        return Geotag(other.lat, other.lon, taken or other.taken, author, other.source)


def taken_at(path: Path | str) -> str:
    """When an image was taken, ``YYYY:MM:DD HH:MM:SS`` of the camera's clock; empty if unknown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            return _text(_exif(Path(path))[2].get(_TAKEN))
        except NoPositionError:
            return ""


@dataclass(frozen=True)
class Moment:
    """When an image was taken.

    Args:
        seconds: since 1970 by the camera's clock, as if that were UTC.
        zone_hours: how far the clock is ahead of UTC; None where it is not told.
    """

    seconds: float
    zone_hours: float | None = None


def moment_of(path: Path | str) -> Moment | None:
    """When an image was taken by its EXIF; None where that is not told or makes no sense."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            shot = _exif(Path(path))[2]
            taken = datetime.strptime(_text(shot.get(_TAKEN))[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except (NoPositionError, ValueError):
            return None
    zone = _ZONE.fullmatch(_text(shot.get(_OFFSET_TAKEN)) or _text(shot.get(_OFFSET)))
    hours = None if zone is None else float(f"{zone[1]}1") * (int(zone[2]) + int(zone[3]) / 60)
    return Moment(taken.timestamp(), hours)


def read_folder(folder: Path | str) -> Positions:
    """The positions of all images below a folder; those without one are named in ``left_out``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no image there tells a position.
    """
    photos = list(find_images([folder], beside=(".json", ".xmp")))
    positions = read_photos(photos, str(folder))
    positions.notes.extend(without_photo(Path(folder), set(photos)))
    return positions


def read_photos(paths: Iterable[Path], where: str) -> Positions:
    """The positions of some images; those without one are named in ``left_out``.

    Raises:
        ValueError: no image tells a position; ``where`` names them.
    """
    tags: dict[Path, Geotag] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            tags[path] = read_geotag(path)
        except NoPositionError as err:
            left_out.append(LeftOut(err.reason, 1, str(path)))
    if not tags:
        example = f" (such as {left_out[0].first}: {left_out[0].reason})" if left_out else ""
        raise ValueError(
            f"none of {len(left_out)} photos in {where} tells where it was taken{example}; "
            "give photos with GPS in their EXIF, XMP or Takeout's JSON, or a CSV with path, lat and lon"
        )
    lat, lon = (np.array([getattr(tag, name) for tag in tags.values()]) for name in ("lat", "lon"))
    return Positions(
        lat, lon, paths=tuple(map(str, tags)), authors=tuple(tag.author for tag in tags.values()),
        times=tuple(tag.taken for tag in tags.values()), left_out=tuple(left_out), notes=_beside(tags, where),
    )


def _beside(tags: dict[Path, Geotag], where: str) -> list[str]:
    """A sentence on positions that do not stand in EXIF, if there are any."""
    counts = Counter(tag.source for tag in tags.values() if tag.source)
    words = " and ".join(f"{count} from {source}" for source, count in counts.items())
    return [f"{where}: of {len(tags)} positions {words}"] if counts else []


def position_of(gps: dict[int, Any]) -> tuple[float, float]:
    """Latitude and longitude of a GPS block as Pillow gives it.

    A value may be degrees, degrees and minutes, or degrees, minutes and seconds. The side comes from the
    reference; without one, from the sign of the value if it is negative.

    Raises:
        ValueError: a value or its side is missing, is no number, is out of range, or contradicts itself.
    """
    if not gps:
        raise ValueError("it has no GPS block in its EXIF")
    lat = _signed(gps, "latitude", _LAT, _LAT_REF, "NS")
    lon = _signed(gps, "longitude", _LON, _LON_REF, "EW")
    if abs(lat) > 90:
        raise ValueError(f"{BEYOND_LAT}: {lat:g}")
    if abs(lon) > 180:
        raise ValueError(f"{BEYOND_LON}: {lon:g}")
    if lat == 0 and lon == 0:
        raise ValueError(ZERO)
    return lat, lon


def _signed(gps: dict[int, Any], name: str, tag: int, reference_tag: int, sides: str) -> float:
    if gps.get(tag) is None:
        raise ValueError(f"its GPS block has no {name}")
    size, negative = _degrees(gps[tag], name)
    reference = _text(gps.get(reference_tag)).upper()
    if not reference:
        if negative or size == 0:
            return -size
        raise ValueError(f"its {name} has no reference, so {sides[0]} or {sides[1]} is not known")
    if reference[0] not in sides or reference not in _SIDES:
        raise ValueError(f"the reference of its {name} is {reference!r}, expected {sides[0]} or {sides[1]}")
    if negative and _SIDES[reference] > 0:
        raise ValueError(f"its {name} is negative, but its reference is {reference}")
    return _SIDES[reference] * size


def _degrees(value: Any, name: str) -> tuple[float, bool]:
    """Size in degrees, and whether a minus stands before it."""
    parts = list(value) if isinstance(value, tuple | list) else [value]
    try:
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"it has {len(parts)} parts")
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, ZeroDivisionError) as err:
        raise ValueError(f"its {name} cannot be read ({value!r})") from err
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"its {name} is not a number (0/0)")
    sizes = [abs(number) for number in numbers]
    if any(size > 60 for size in sizes[1:]):
        raise ValueError(f"its {name} has more than 60 minutes or seconds: {sizes[1:]}")
    negative = any(number < 0 for number in numbers)
    return sum(size / 60**power for power, size in enumerate(sizes)), negative


def _exif(path: Path) -> tuple[Image.Exif, dict[int, Any], dict[int, Any], bytes | str | None]:
    """An image's EXIF, its GPS block, its block on the shot, and its XMP."""
    try:
        with open_header(path) as image:
            exif = image.getexif()
            gps, more = exif.get_ifd(_GPS_IFD), exif.get_ifd(_EXIF_IFD)
            xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    except BadImageError as err:
        raise NoPositionError(path, err.reason) from err
    return exif, gps, more, xmp


def _text(value: Any) -> str:
    """EXIF text, of whatever type, without zeros and blanks at its ends."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""
