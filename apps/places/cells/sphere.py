"""Distances and nearest neighbours on the earth, taken as a sphere."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from apps.places.cells import s2
from apps.places.cells.s2 import Floats, Ints

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
EARTH_AREA_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2


def distance_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """Great-circle distances by the haversine formula; the four are broadcast against each other.

    Args:
        lat1: latitude of the one position in degrees north, -90 to 90.
        lon1: its longitude in degrees east, any finite number.
        lat2: latitude of the other.
        lon2: its longitude.

    Returns:
        Kilometres, 0 to 20015.1. The earth is taken as a sphere of 6371.0088 km: off by up to 0.6 %.

    Raises:
        ValueError: a latitude is outside -90 to 90, or something is not finite.
    Source: Sinnott 1984, Virtues of the haversine.
    """
    a, b = (np.asarray(item, np.float64) for item in (lat1, lat2))
    turn = np.asarray(lon2, np.float64) - np.asarray(lon1, np.float64)
    for lat in (a, b):
        if not (np.abs(lat) <= 90).all():
            raise ValueError(f"expected latitudes from -90 to 90 degrees, got {lat.min()} to {lat.max()}")
    if not np.isfinite(turn).all():
        raise ValueError("expected finite longitudes, got one that is not")
    phi1, phi2 = np.radians(a), np.radians(b)
    half = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(np.radians(turn) / 2) ** 2
    out: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return out


class Nearest:
    """Finds the nearest of some positions, on the sphere and so right at the poles and the antimeridian.

    Args:
        lat: (K,) degrees north, K from 1 up.
        lon: (K,) degrees east.
    """

    def __init__(self, lat: Floats, lon: Floats) -> None:
        self.lat, self.lon = lat, lon

    @cached_property
    def _tree(self) -> object:
        from scipy.spatial import cKDTree

        return cKDTree(s2.unit_vectors(self.lat, self.lon))

    def __call__(self, lat: Floats, lon: Floats) -> tuple[Ints, Floats]:
        """Index and distance in km of the nearest position to each of (N,) others."""
        tree: object = self._tree
        _, result = tree.query(s2.unit_vectors(lat, lon))  # type: ignore[attr-defined]
        index = np.asarray(result, np.int64)
        return index, distance_km(lat, lon, self.lat[index], self.lon[index])
