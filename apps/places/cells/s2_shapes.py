"""What S2 cells look like on the earth: middles, corners, bounds, areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.places.cells import s2
from apps.places.cells.s2 import MAX_LEVEL, Floats, Ids, Ints
from apps.places.cells.sphere import EARTH_RADIUS_KM

_HALF = 1.0 / (1 << (MAX_LEVEL + 1))  # half a leaf, as a share of a face's edge


@dataclass(frozen=True, eq=False)
class Bounds:
    """The rectangles of latitude and longitude around cells, in degrees; each array is (N,).

    ``west`` is above ``east`` where a rectangle crosses the antimeridian; around a pole they are -180
    and 180.
    """

    south: Floats
    west: Floats
    north: Floats
    east: Floats


def centres(ids: Ids) -> Floats:
    """The middles of cells on the unit sphere, (N, 3)."""
    return _normalised(_middles(ids))


def centres_deg(ids: Ids) -> tuple[Floats, Floats]:
    """Latitudes and longitudes of the middles of cells, in degrees."""
    return s2.degrees(_middles(ids))


def _middles(ids: Ids) -> Floats:
    face, low, size = _squares(ids)
    return _on_cube(face, *(_projected((low[axis] * 2 + size) * _HALF) for axis in (0, 1)))


def vertices(ids: Ids) -> Floats:
    """The corners of cells on the unit sphere, counter-clockwise from the lowest, (N, 4, 3)."""
    face, (u0, u1), (v0, v1) = _rectangles(ids)
    corners = [_on_cube(face, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    return _normalised(np.stack(corners, axis=1))


def areas_km2(ids: Ids) -> Floats:
    """The exact areas of cells on a sphere of the earth's mean radius, in km2, (N,).

    Source: Van Oosterom and Strackee 1983, The solid angle of a plane triangle, equation 8: here for both
    halves of a cell, whose triple product is the cell's area on the face of the cube.
    """
    face, (u0, u1), (v0, v1) = _rectangles(ids)
    corners = [_on_cube(face, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    product = _stretch(ids, 0) * _stretch(ids, 1)
    solid = _triangle(product, corners[0], corners[1], corners[2])
    solid += _triangle(product, corners[0], corners[2], corners[3])
    return solid * EARTH_RADIUS_KM**2


def bounds(ids: Ids) -> Bounds:
    """The rectangles of latitude and longitude around cells: their corners', but for the six faces."""
    lat, lon = s2.degrees(vertices(ids))
    middle_lat, middle_lon = centres_deg(ids)
    offset = (lon - middle_lon[:, None] + 180) % 360 - 180
    offset[np.abs(lat) > 90 - 1e-12] = 0  # a pole has every longitude
    south, north = lat.min(axis=1), lat.max(axis=1)
    west, east = _wrapped(middle_lon + offset.min(axis=1)), _wrapped(middle_lon + offset.max(axis=1))
    whole = s2.levels(ids) == 0
    belt, cap = whole & (np.abs(middle_lat) < 45), whole & (np.abs(middle_lat) > 45)
    south[belt], north[belt], west[cap], east[cap] = -45, 45, -180, 180
    south[cap & (middle_lat < 0)], north[cap & (middle_lat > 0)] = -90, 90
    return Bounds(south, west, north, east)


def _wrapped(lon: Floats) -> Floats:
    return np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)


def _squares(ids: Ids) -> tuple[Ints, tuple[Ints, Ints], Ints]:
    """Face, the numbers of the lowest leaf along both axes, leaves along an edge."""
    face, i, j = s2.face_ij(ids)
    size = np.int64(1) << (MAX_LEVEL - s2.levels(ids))
    return face, (i & -size, j & -size), size


def _rectangles(ids: Ids) -> tuple[Ints, tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Face, and from where to where a cell reaches along both axes of the cube's face, -1 to 1."""
    face, (i, j), size = _squares(ids)
    (u0, u1), (v0, v1) = ((_projected(n * (2 * _HALF)), _projected((n + size) * (2 * _HALF))) for n in (i, j))
    return face, (u0, u1), (v0, v1)


def _stretch(ids: Ids, axis: int) -> Floats:
    """Length of cells along an axis of the cube's face, without the error of a difference of ends."""
    _, low, size = _squares(ids)
    s0, s1 = low[axis] * (2 * _HALF), (low[axis] + size) * (2 * _HALF)
    within = np.where(s0 >= 0.5, s0 + s1, 2 - s0 - s1) * (s1 - s0) * (4 / 3)
    return np.where(s1 - s0 == 1, 2.0, within)


def _projected(s: NDArray[np.floating[Any]]) -> Floats:
    above = (1 / 3) * (4 * s * s - 1)
    below = (1 / 3) * (1 - 4 * (1 - s) * (1 - s))
    return np.where(s >= 0.5, above, below)


def _on_cube(face: Ints, u: Floats, v: Floats) -> Floats:
    item = np.ones_like(u)
    x = np.choose(face, (item, -u, -u, -item, v, v))
    y = np.choose(face, (u, item, -v, -v, -item, u))
    z = np.choose(face, (v, v, item, -u, -u, -item))
    return np.stack((x, y, z), axis=-1)


def _normalised(points: Floats) -> Floats:
    out: Floats = points / np.linalg.norm(points, axis=-1, keepdims=True)
    return out


def _triangle(product: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    """Solid angle of a triangle, 0 to 2 pi, from the triple product of its corners and the corners."""
    la, lb, lc = (np.linalg.norm(item, axis=-1) for item in (a, b, c))
    ab, bc, ca = ((item * two).sum(axis=-1) for item, two in ((a, b), (b, c), (c, a)))
    out: Floats = 2 * np.arctan2(product, la * lb * lc + ab * lc + bc * la + ca * lb)
    return out


def outline(cell: int) -> list[NDArray[np.float64]]:
    """A cell as rings for a map: longitude and latitude, counter-clockwise, closed, within +-180 degrees.

    Edges of large cells get points between, as they are no straight lines on a map. No cell below the six
    faces crosses the antimeridian, some end there; a face is given as its four quarters. A ring that touches
    a pole runs along the map's edge.

    Returns:
        arrays (M, 2), one but for a face.
    """
    ids = np.array([cell], np.uint64)
    if s2.levels(ids)[0] == 0:
        return [ring for quarter in s2.children(ids)[0].tolist() for ring in outline(quarter)]
    lat, lon = (degree[0] for degree in s2.degrees(_edge_points(ids)))
    middle = centres_deg(ids)[1][0]
    lon = np.clip(middle + ((lon - middle + 180) % 360 - 180), -180, 180)
    ring = np.stack([lon, lat], axis=1)
    pole = np.flatnonzero(np.abs(lat) > 90 - 1e-9)
    if len(pole):  # it has no longitude: come along the neighbour's before, leave along that behind
        at = int(pole[0])
        before, behind = ring[at - 1, 0], ring[(at + 1) % len(ring), 0]
        ring = np.concatenate([ring[:at], [[before, lat[at]], [behind, lat[at]]], ring[at + 1 :]])
    return [np.concatenate([ring, ring[:1]])]


def _edge_points(ids: Ids) -> Floats:
    """Points along the edges of cells, (N, M, 3), M by the largest of them and more near a pole."""
    polar = bool((np.abs(centres(ids)[:, 2]) > 0.99).any())
    pieces = 1 << max(0, 4 * polar, 6 - int(s2.levels(ids).min()))
    face, (u0, u1), (v0, v1) = _rectangles(ids)
    on = np.linspace(0, 1, pieces, endpoint=False)
    u, v = (lo[:, None] + (hi - lo)[:, None] * on for lo, hi in ((u0, u1), (v0, v1)))
    back_u, back_v = (hi[:, None] - (hi - lo)[:, None] * on for lo, hi in ((u0, u1), (v0, v1)))
    bottom, right, top, left = (item[:, None] + 0 * on for item in (v0, u1, v1, u0))
    across = np.concatenate([u, right, back_u, left], axis=1)
    up = np.concatenate([bottom, v, top, back_v], axis=1)
    return _on_cube(np.broadcast_to(face[:, None], across.shape), across, up)
