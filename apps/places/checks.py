"""What looks wrong with positions: those of data, for ``check places``, and predicted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.engine.data.problems import Problem, Problems, Survey, sorted_by_score
from apps.places.cells.build import swapped_by_land
from apps.places.cells.s2 import Floats
from apps.places.cells.sphere import distance_km
from apps.places.data import read_photo_positions
from apps.places.geo_metrics import GeoPredictions
from datasets.geo.geotagged import GeoDataset
from datasets.geo.positions import Positions

CROWD = 10  # photos on exactly one point, from which on they are reported
CROWD_SHARE = 0.02  # of all photos, the same
SHOWN = 4  # photos of a crowd
LEAST, MANY = 2, 5  # images from which on distances tell that columns are swapped, and without being so clear
CLEAR = 0.1  # of the median distance, where there are few images
NEARER = 0.7  # share of the images that a swap brings nearer
HALF = 0.5  # of the median distance, or of the images
RADIANS = np.pi / 2, np.pi


def positioned(source: Path) -> GeoDataset:
    """All photos with positions, in no cells.

    Raises:
        OSError, ValueError: as :func:`apps.places.data.read_photo_positions`.
    """
    positions = read_photo_positions(source)
    photos = GeoDataset(positions, np.zeros((len(positions), 0), np.int64), ("anywhere",))
    photos.notes += positions.notes
    return photos


def position_problems(survey: Survey) -> Problems:
    """Problems of positions by kind."""
    results: Problems = {"impossible_positions": [], "swapped_positions": [], "crowded_positions": []}
    for photos in survey.splits.values():
        if not isinstance(photos, GeoDataset):
            continue
        positions = photos.positions
        results["impossible_positions"] += [
            Problem(str(item), count=item.count) for item in positions.left_out
        ]
        doubt = swapped_by_land(positions)
        results["swapped_positions"] += [Problem(doubt)] if doubt else []
        if in_radians(positions.lat, positions.lon):
            text = "all positions would do as radians; they are read as degrees: multiply by 57.29578 first"
            results["swapped_positions"].append(Problem(text))
        results["crowded_positions"] += crowds(positions)
    return results


def crowds(positions: Positions) -> list[Problem]:
    """The points on which many photos lie exactly, the largest first."""
    points, places, counts = np.unique(
        np.stack([positions.lat, positions.lon], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    least = max(CROWD, CROWD_SHARE * len(positions))
    results = []
    for number in np.flatnonzero(counts >= least).tolist():
        rows = np.flatnonzero(places.ravel() == number)[:SHOWN].tolist()
        lat, lon = points[number]
        text = f"{counts[number]} of {len(positions)} photos lie exactly on {lat:g}, {lon:g}"
        paths = tuple(Path(positions.paths[row]) for row in rows)
        captions = tuple(f"{lat:g}, {lon:g}" for _ in paths)
        results.append(Problem(text, paths, captions, (), float(counts[number])))
    return sorted_by_score(results)


def doubts(p: GeoPredictions) -> list[str]:
    """A sentence for each thing that looks wrong: radians, latitude and longitude in each other's place."""
    known = p.answered
    sides = {"predictions": (p.lat[known], p.lon[known]), "true positions": (p.true_lat, p.true_lon)}
    radians = [
        f"all {what} lie within {RADIANS[0]:.2f} north and {RADIANS[1]:.2f} east of 0, 0, as radians do; "
        "they are read as degrees: multiply radians by 57.29578 first"
        for what, (lat, lon) in sides.items() if in_radians(lat, lon)
    ]
    if radians or not known.any():
        return radians
    swapped = _swapped(p)
    by_land = swapped_by_land(Positions(p.true_lat, p.true_lon))
    return [*swapped, *([f"true positions: {by_land}"] if by_land else [])]


def in_radians(lat: Floats, lon: Floats) -> bool:
    """Whether two positions or more, not all the same, would do as radians."""
    several = len(np.unique(np.stack([lat, lon], axis=1), axis=0)) > 1 if len(lat) else False
    return bool(several and (np.abs(lat) <= RADIANS[0]).all() and (np.abs(lon) <= RADIANS[1]).all())


def _swapped(p: GeoPredictions) -> list[str]:
    """Whether answers lie much nearer to the truth with the columns of one of the two sides swapped."""
    known = p.answered
    lat, lon, true_lat, true_lon = (side[known] for side in (p.lat, p.lon, p.true_lat, p.true_lon))
    possible = np.abs(lon) <= 90
    if possible.sum() < max(LEAST, HALF * len(lat)):
        return []
    lat, lon, true_lat, true_lon = (side[possible] for side in (lat, lon, true_lat, true_lon))
    as_is, turned = distance_km(lat, lon, true_lat, true_lon), distance_km(lon, lat, true_lat, true_lon)
    before, after = float(np.median(as_is)), float(np.median(turned))
    least, share = (HALF, NEARER) if possible.sum() >= MANY else (CLEAR, 1.0)
    if after >= least * before or (turned < as_is).mean() < share:
        return []
    return [
        "with latitude and longitude of the predictions, or of the true positions, swapped the median "
        f"distance would be {after:.0f} km instead of {before:.0f} km: look whether the columns have the "
        "right names"
    ]
