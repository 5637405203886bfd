"""What looks wrong with predicted positions, though every number is a position."""

from __future__ import annotations

import numpy as np

from apps.places.cells.build import swapped_by_land
from apps.places.cells.s2 import Floats
from apps.places.cells.sphere import distance_km
from apps.places.geo_metrics import GeoPredictions
from datasets.geo.positions import Positions

LEAST = 5  # images from which on distances tell that columns are swapped
NEARER = 0.7  # share of the images that a swap brings nearer
HALF = 0.5  # of the median distance, or of the images
RADIANS = np.pi / 2, np.pi


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
    if after >= HALF * before or (turned < as_is).mean() < NEARER:
        return []
    return [
        "with latitude and longitude of the predictions, or of the true positions, swapped the median "
        f"distance would be {after:.0f} km instead of {before:.0f} km: look whether the columns have the "
        "right names"
    ]
