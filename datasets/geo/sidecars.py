"""Positions beside photos: XMP, in the photo or in a file of its own, and the JSON of Google Takeout."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from datasets.file_kinds import is_image_name
from datasets.geo.positions import BEYOND_LAT, BEYOND_LON, ZERO
from datasets.outside import whole_file

EXIF_SPACE = "http://ns.adobe.com/exif/1.0/"
ESTIMATE = "estimated by mobilenet-apps"  # exif:GPSProcessingMethod of a position that nobody measured
METHOD = "GPSProcessingMethod"
XMP, TAKEOUT = "XMP", "Takeout's JSON"
MOST_BYTES = 16 << 20
SUPPLEMENT = ".supplemental-metadata"
SHORTENED = 43  # letters of a name, from which on Takeout may have cut it
EDITED = ("-edited", "-bearbeitet", "-modifié", "-editado", "-bewerkt", "-modificato", "-edytowane")
_NUMBERED = re.compile(r"(?P<base>.*)\((?P<number>\d+)\)", re.DOTALL)
_ANGLE = re.compile(
    r"(?P<sign>[+-])?(?P<degrees>\d{1,3}(?:\.\d+)?)(?:,(?P<minutes>\d{1,2}(?:\.\d+)?)"
    r"(?:,(?P<seconds>\d{1,2}(?:\.\d+)?))?)?\s*(?P<side>[NSEW])?", re.IGNORECASE,
)


@dataclass(frozen=True)
class Beside:
    """What stands beside a photo.

    Args:
        source: where it stands.
        lat: degrees north; NaN where there is none.
        lon: degrees east; NaN where there is none.
        taken: ``YYYY:MM:DD HH:MM:SS``, of Takeout in UTC; empty where it is not known.
        why: what is wrong where there is no position.
    """

    source: str
    lat: float = math.nan
    lon: float = math.nan
    taken: str = ""
    why: str = ""


def position_beside(photo: Path, embedded: bytes | str | None) -> Beside | None:
    """The first position that stands beside a photo: in its sidecar, in itself, in Takeout's JSON.

    Args:
        photo: the file.
        embedded: the XMP in the photo, if there is some.

    Returns:
        What was looked at and tells none, with the reason, where nothing tells one; None where nothing is.
    """
    looked: list[Beside] = []
    sidecar = sidecar_of(photo)
    if sidecar is not None:
        looked.append(_of_file(sidecar, XMP, _xmp_position))
    if embedded:
        looked.append(_of_bytes(embedded if isinstance(embedded, bytes) else embedded.encode(), f"its {XMP}"))
    takeout = takeout_of(photo)
    if takeout is not None:
        looked.append(_of_file(takeout, TAKEOUT, _takeout_position))
    good = (item for item in looked if not item.why)
    return next(good, looked[-1] if looked else None)


def sidecar_of(photo: Path) -> Path | None:
    """The XMP sidecar of a photo, as digiKam and immich name it, or as Lightroom does."""
    names = (f"{photo.name}.xmp", f"{photo.name}.XMP", f"{photo.stem}.xmp", f"{photo.stem}.XMP")
    return next((place for name in names if (place := photo.with_name(name)).exists()), None)


def takeout_of(photo: Path) -> Path | None:
    """The JSON that Google Takeout wrote for a photo, however it shortened or numbered the name.

    ``photo.jpg.json``, ``photo.jpg.supplemental-metadata.json`` or a beginning of it, ``photo.jpg(1).json``
    of ``photo(1).jpg``; that of the original for ``photo-edited.jpg``.
    """
    names = _json_files(photo.parent)
    for name, number in _keys(photo.name):
        full = f"{name}{SUPPLEMENT}"
        fits = [
            base for base, n in names
            if n == number and full.startswith(base) and len(base) >= min(len(name), SHORTENED)
        ]
        if fits:
            return photo.parent / names[max(fits, key=len), number]
    return None


def _keys(name: str) -> list[tuple[str, str]]:
    """(name of the photo, number) as its JSON may have them: as they are, numbered, of the original."""
    path, results = Path(name), [(name, "")]
    match = _NUMBERED.fullmatch(path.stem)
    if match is not None:
        results.append((f"{match['base']}{path.suffix}", match["number"]))
    for stem, number in [(Path(item).stem, n) for item, n in results]:
        for word in EDITED:
            if stem.endswith(word):
                results.append((f"{stem.removesuffix(word)}{path.suffix}", number))
    return results


def _json_files(folder: Path) -> dict[tuple[str, str], str]:
    """(name without .json and number, number) -> the file's name, of the JSON files of a folder."""
    try:
        return _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=64)
def _listed(folder: Path, changed: int) -> dict[tuple[str, str], str]:
    del changed
    results = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.lower().endswith(".json"):
            stem = entry.name[:-len(".json")]
            match = _NUMBERED.fullmatch(stem)
            results[stem, ""] = entry.name
            if match is not None:
                results[match["base"], match["number"]] = entry.name
    return results


def without_photo(folder: Path, photos: set[Path]) -> list[str]:
    """A sentence on the JSON files of Takeout whose photos are not there, if there are any.

    Args:
        folder: around the photos.
        photos: all that are there.
    """
    folders = sorted({photo.parent for photo in photos})
    taken = {file for photo in photos if (file := takeout_of(photo)) is not None}
    named = [
        place / name for place in folders for (base, _), name in _json_files(place).items()
        if is_image_name(base) or is_image_name(base.partition(".supplem")[0])
    ]
    alone = [file for file in dict.fromkeys(named) if file not in taken]
    if not alone:
        return []
    return [f"{folder}: {len(alone)} JSON files of Takeout have no photo here, such as {alone[0].name}"]


def _of_file(path: Path, kind: str, read: Any) -> Beside:
    try:
        result: Beside = read(whole_file(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as err:
        words = str(err) if "position" in str(err) else f"is damaged ({err})"
        return Beside(kind, why=f"{path.name} {words}")
    return result


def _of_bytes(data: bytes, source: str) -> Beside:
    try:
        return _xmp_position(data)
    except ValueError as err:
        return Beside(XMP, why=f"{source} {err}")


def _takeout_position(data: bytes) -> Beside:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("is no object")
    taken, stamp = "", value.get("photoTakenTime")
    try:
        seconds = int(stamp["timestamp"]) if isinstance(stamp, dict) else 0
        taken = datetime.fromtimestamp(seconds, UTC).strftime("%Y:%m:%d %H:%M:%S") if seconds else ""
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        taken = ""
    words = "tells no position"
    for name in ("geoData", "geoDataExif"):
        part = value.get(name)
        lat, lon = (_number(part, key) for key in ("latitude", "longitude"))
        if lat is not None and lon is not None:
            words = _wrong(lat, lon)
            if not words:
                return Beside(TAKEOUT, lat, lon, taken)
    raise ValueError(words if "position" in words else f"tells no position: {words}")


def _number(part: Any, key: str) -> float | None:
    value = part.get(key) if isinstance(part, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _xmp_position(data: bytes) -> Beside:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("declares entities, so no position is read from it")
    try:
        root = ElementTree.fromstring(data.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, LookupError) as err:
        raise ValueError(f"is damaged, so it tells no position ({err})") from err
    values: dict[str, str] = {}
    for item in root.iter():
        fields = {**item.attrib, item.tag: item.text or ""}
        for name in ("GPSLatitude", "GPSLongitude", "GPSLatitudeRef", "GPSLongitudeRef", METHOD):
            if fields.get(f"{{{EXIF_SPACE}}}{name}", "").strip():
                values.setdefault(name, fields[f"{{{EXIF_SPACE}}}{name}"].strip())
    if not {"GPSLatitude", "GPSLongitude"} <= values.keys():
        raise ValueError("tells no position")
    if values.get(METHOD, "").startswith(ESTIMATE):
        raise ValueError("tells no position that was measured, only an estimate")
    lat = xmp_angle(values["GPSLatitude"], values.get("GPSLatitudeRef", ""), "NS")
    lon = xmp_angle(values["GPSLongitude"], values.get("GPSLongitudeRef", ""), "EW")
    wrong = _wrong(lat, lon)
    if wrong:
        raise ValueError(f"tells no position: {wrong} ({values['GPSLatitude']} {values['GPSLongitude']})")
    return Beside(XMP, lat, lon)


def xmp_angle(text: str, reference: str, sides: str) -> float:
    """``52,30.5N``, ``52,30,30N``, or degrees with a sign or a reference beside them; NaN where it is none.

    Args:
        text: as XMP has it.
        reference: of a field of its own, or empty.
        sides: the letters for plus and for minus.
    """
    match = _ANGLE.fullmatch(text.strip())
    if match is None:
        return math.nan
    part = match.groupdict()
    minutes, seconds = float(part["minutes"] or 0), float(part["seconds"] or 0)
    side = (part["side"] or reference.strip()[:1]).upper()
    split = part["minutes"] is not None
    if (side and side not in sides) or max(minutes, seconds) > 60 or (split and "." in part["degrees"]):
        return math.nan
    if split and not side and part["sign"] is None:
        return math.nan  # without a side it could be either
    value = float(part["degrees"]) + minutes / 60 + seconds / 3600
    if part["sign"] == "-" and side == sides[0] and part["side"]:
        return math.nan
    return -value if part["sign"] == "-" or side == sides[1] else value


def _wrong(lat: float, lon: float) -> str:
    """Why two numbers are no position; empty where they are one."""
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return "it cannot be read"
    if abs(lat) > 90:
        return f"{BEYOND_LAT}: {lat:g}"
    if abs(lon) > 180:
        return f"{BEYOND_LON}: {lon:g}"
    return ZERO if lat == 0 and lon == 0 else ""
