"""Predicted positions as CSV: ours written, anybody's read, so that every system is judged alike."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.files import write_whole
from apps.places.geo_metrics import GeoPredictions
from datasets.geo.positions import Positions

NAMES = {
    "path": ("path", "photo", "image", "file", "filename", "img_id", "img_path"),
    "lat": ("lat", "latitude", "pred_lat", "lat_pred", "predicted_lat"),
    "lon": ("lon", "lng", "longitude", "pred_lon", "pred_lng", "lon_pred", "lng_pred", "predicted_lon"),
    "true_lat": ("true_lat", "lat_true", "gt_lat", "target_lat"),
    "true_lon": ("true_lon", "true_lng", "lon_true", "lng_true", "gt_lon", "gt_lng", "target_lon"),
    "confidence": ("confidence", "probability", "p"),
}
COLUMNS = ("path", "lat", "lon", "confidence", "true_lat", "true_lon")

Row = dict[str, Any]


def write_predictions(path: Path, p: GeoPredictions) -> None:
    """Write predictions with their truth; an abstention has no lat and lon."""
    confidence = np.full(len(p.paths), np.nan) if p.confidence is None else p.confidence
    columns = (p.lat, p.lon, confidence, p.true_lat, p.true_lon)

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for name, *numbers in zip(p.paths, *(one.tolist() for one in columns), strict=True):
                writer.writerow([name, *("" if math.isnan(one) else one for one in numbers)])

    write_whole(path, write)


def read_predictions(path: Path, truth: Positions | None = None) -> GeoPredictions:
    """Predictions of any system: a CSV with path, lat and lon, and true_lat and true_lon without ``truth``.

    An empty lat and lon is an abstention. With ``truth`` photos are found by their path, or by their file
    name where no path fits; a photo without a prediction counts as an abstention.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: columns are missing, a number is none, or predictions and truth name other photos.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a CSV with path, lat and lon")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = _columns(path, reader.fieldnames or [], with_truth=truth is None)
        rows = [{key: row[name] for key, name in names.items()} for row in reader]
    if not rows:
        raise ValueError(f"{path} has no predictions; expected one photo a row")
    if truth is not None:
        return _joined(path, rows, truth)
    columns = {key: _numbers(path, rows, key) for key in ("lat", "lon", "true_lat", "true_lon")}
    return GeoPredictions(
        **columns, paths=tuple(_names(rows)), confidence=_confidence(path, rows)
    )


def _columns(path: Path, heading: Iterable[str], *, with_truth: bool) -> dict[str, str]:
    plain = {name.strip().lower(): name for name in heading}
    found = {key: next((plain[one] for one in names if one in plain), None) for key, names in NAMES.items()}
    wanted = ("lat", "lon", "true_lat", "true_lon") if with_truth else ("path", "lat", "lon")
    missing = [key for key in wanted if not found[key]]
    if missing:
        lacking, there, expected = (", ".join(one) for one in (missing, heading, wanted))
        raise ValueError(f"{path} has no column {lacking}; it has {there}; expected {expected}")
    return {key: name for key, name in found.items() if name}


def _numbers(path: Path, rows: list[Row], key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    out = np.full(len(rows), np.nan)
    for number, row in enumerate(rows):
        text = (row[key] or "").strip()
        try:
            out[number] = float(text) if text else np.nan
        except ValueError as err:
            raise ValueError(f"{path}, row {number + 1}: {key} is {text!r}, expected a number") from err
    return out


def _names(rows: list[Row]) -> list[str]:
    return [row.get("path") or f"row {number}" for number, row in enumerate(rows, 1)]


def _confidence(path: Path, rows: list[Row]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    return _numbers(path, rows, "confidence") if "confidence" in rows[0] else None


def _joined(path: Path, rows: list[Row], truth: Positions) -> GeoPredictions:
    """Predictions in the order of the truth."""
    own = {name: number for number, name in enumerate(_names(rows))}
    if len(own) < len(rows):
        twice = Counter(_names(rows)).most_common(1)[0][0]
        raise ValueError(f"{path} has two predictions for {twice}; expected one for each photo")
    by_file = {Path(name).name: number for name, number in own.items()}
    files = [Path(name).name for name in truth.paths]
    clear = len(by_file) == len(own) and len(set(files)) == len(files)
    found = [
        own.get(name, by_file.get(file, -1) if clear else -1)
        for name, file in zip(truth.paths, files, strict=True)
    ]
    if all(one < 0 for one in found):
        raise ValueError(
            f"none of the {len(rows)} photos in {path} (such as {next(iter(own))}) is among the "
            f"{len(truth.paths)} whose position is known (such as {(*truth.paths, 'none')[0]})"
        )
    index = np.array(found)
    columns = {key: np.append(_numbers(path, rows, key), np.nan)[index] for key in ("lat", "lon")}
    confidence = _confidence(path, rows)
    return GeoPredictions(
        **columns, true_lat=truth.lat, true_lon=truth.lon, paths=truth.paths,
        confidence=None if confidence is None else np.append(confidence, np.nan)[index],
    )
