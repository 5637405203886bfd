"""What a head over cells learns and what its offsets mean: plain tables from a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats, Ints
from apps.places.cells.sphere import EARTH_RADIUS_KM, distance_km


def neighbour_weights(grid: CellPartition, tau_km: float, count: int = 32) -> tuple[Ints, Floats]:
    """Which cells share a cell's target, and how much: exp(-distance / tau), made to add up to 1.

    Args:
        tau_km: how fast the share falls off between representatives, above 0; PIGEON takes 65.
        count: cells that share at most, the nearest; a cell is its own nearest.

    Returns:
        two tables (K, M) of cells and weights, M = min(count, K).

    Raises:
        ValueError: ``tau_km`` is not above 0 or ``count`` below 1.
    Source: Haas et al. 2024, PIGEON: Predicting Image Geolocations, equation 2, on representatives.
    """
    from scipy.spatial import cKDTree

    if not tau_km > 0 or count < 1:
        raise ValueError(f"expected tau_km above 0 and count from 1 up, got {tau_km:g} and {count}")
    points = s2.unit_vectors(grid.lat, grid.lon)
    wanted = min(count, len(grid))
    index = np.asarray(cKDTree(points).query(points, k=np.arange(1, wanted + 1))[1], np.int64)
    index[:, 0], first = np.arange(len(grid)), index[:, 0].copy()  # also where representatives coincide
    double = (index[:, 1:] == index[:, :1]).nonzero()
    index[double[0], double[1] + 1] = first[double[0]]
    km = distance_km(grid.lat[:, None], grid.lon[:, None], grid.lat[index], grid.lon[index])
    weights = np.exp(-km / tau_km)
    return index, weights / weights.sum(axis=1, keepdims=True)


def frequency_order(grid: CellPartition) -> list[int]:
    """All cells, the one with the most images first."""
    order: list[int] = np.argsort(-grid.weights, kind="stable").tolist()
    return order


def radii_km(grid: CellPartition) -> Floats:
    """The radius of the circle with each cell's area."""
    return np.sqrt(s2_shapes.areas_km2(grid.ids) / np.pi)


def offset_targets(grid: CellPartition, index: Ints, lat_deg: ArrayLike, lon_deg: ArrayLike) -> Floats:
    """Where images are, seen from the representative of a cell: (N, 2) east and north in radii of the cell.

    Distance and bearing are those on the sphere, so that :func:`move` leads back to the image exactly.

    Args:
        index: (N,) cells; -1 gives zeros.
    """
    lat, lon = s2.checked_positions(lat_deg, lon_deg)
    known = index >= 0
    out = np.zeros((len(lat), 2))
    cells = index[known]
    east, north = _frame(grid.lat[cells], grid.lon[cells])
    points = s2.unit_vectors(lat[known], lon[known])
    flat = np.stack([(points * east).sum(axis=1), (points * north).sum(axis=1)], axis=1)
    km = distance_km(lat[known], lon[known], grid.lat[cells], grid.lon[cells])
    size = np.linalg.norm(flat, axis=1)
    out[known] = flat * (km / np.maximum(size, 1e-300) / radii_km(grid)[cells])[:, None]
    return out


def move(grid: CellPartition, index: Ints, offset: Floats) -> tuple[Floats, Floats]:
    """The positions that offsets (N, 2) lead to from the representatives of cells, in degrees."""
    lat, lon = grid.lat[index], grid.lon[index]
    east, north = _frame(lat, lon)
    length = np.linalg.norm(offset, axis=1)
    angle = length * radii_km(grid)[index] / EARTH_RADIUS_KM
    way = (east * offset[:, :1] + north * offset[:, 1:]) / np.maximum(length, 1e-300)[:, None]
    return s2.degrees(s2.unit_vectors(lat, lon) * np.cos(angle)[:, None] + way * np.sin(angle)[:, None])


def _frame(lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """Unit vectors to the east and the north of positions, (N, 3) each."""
    phi, theta = np.radians(lat), np.radians(lon)
    east = np.stack([-np.sin(theta), np.cos(theta), np.zeros_like(theta)], axis=1)
    north = np.stack([-np.sin(phi) * np.cos(theta), -np.sin(phi) * np.sin(theta), np.cos(phi)], axis=1)
    return east, north
