"""GPX: where a receiver was, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from datasets.geo.positions import BEYOND_LAT, BEYOND_LON
from datasets.outside import whole_file

MOST_BYTES = 256 << 20
_POINTS = ("trkpt", "rtept", "wpt")


@dataclass(frozen=True, eq=False)
class Track:
    """Positions in the order of their times, N from 1 up.

    Args:
        seconds: (N,) since 1970 in UTC, ascending.
        lat: (N,) degrees north, -90 to 90.
        lon: (N,) degrees east, -180 to 180.
        left_out: points without a time.
    """

    seconds: NDArray[np.float64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    left_out: int = 0


def read_gpx(path: Path) -> Track:
    """All points of a GPX file that tell a time, of tracks, routes and waypoints; GPX 1.0 and 1.1.

    Args:
        path: of the file; a time without a zone is UTC, as GPX has it.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no regular file.
        ValueError: it is no GPX file, is damaged or too large, or no point tells a time.
    """
    data = whole_file(path, MOST_BYTES)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{path} declares entities, so it is not read; save it as plain GPX")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as err:
        raise ValueError(f"{path} is no GPX file, or is damaged ({err}); give another") from err
    if _local(root.tag) != "gpx":
        raise ValueError(f"{path} is no GPX file: it begins with <{_local(root.tag)[:40]}>, not <gpx>")
    rows, left_out = [], 0
    for number, item in enumerate(item for item in root.iter() if _local(item.tag) in _POINTS):
        time = next((child.text or "" for child in item if _local(child.tag) == "time"), "").strip()
        if not time:
            left_out += 1
            continue
        try:
            rows.append((_seconds(time), *_position(item.get("lat"), item.get("lon"))))
        except ValueError as err:
            raise ValueError(f"{path}: point {number + 1}: {err}; mend or remove it") from err
    if not rows:
        raise ValueError(f"{path} has no point with a time ({left_out} without); give a recorded track")
    seconds, lat, lon = np.array(sorted(rows)).T
    return Track(seconds, lat, lon, left_out)


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as err:
        raise ValueError(f"its time is {text[:40]!r}, not as 2026-05-01T12:00:00Z") from err


def _position(lat: str | None, lon: str | None) -> tuple[float, float]:
    try:
        north, east = float(lat or ""), float(lon or "")
    except ValueError as err:
        raise ValueError(f"its lat and lon are {lat!r} and {lon!r}, no numbers") from err
    if not (math.isfinite(north) and math.isfinite(east)):
        raise ValueError(f"its lat and lon are {lat!r} and {lon!r}, no numbers")
    if abs(north) > 90:
        raise ValueError(f"{BEYOND_LAT}: {north:g}")
    if abs(east) > 180:
        raise ValueError(f"{BEYOND_LON}: {east:g}")
    return north, east
