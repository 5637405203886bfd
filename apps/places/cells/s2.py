"""Google's S2 cells in numpy: positions to 64-bit cell ids and back, whole arrays at once.

A leaf id is bit for bit what Google's library gives: the same projection in the same order of operations.
It is the same on every processor; for positions on the very border of two cells, where Google's own answer
depends on the last digit of the C library's sine, it is the answer of the correctly rounded one.
Ids are ``uint64``; a cell of level 0 is a face of the cube, one of level 30 a leaf of
about a square centimetre.

Source: https://s2geometry.io/devguide/s2cell_hierarchy (cells, Hilbert curve, quadratic projection).
"""

from __future__ import annotations

from functools import cache
from math import pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apps.places.cells.trigonometry import sin_cos

Ids = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_LEVEL = 30
FACES = 6
_SIDE = 1 << MAX_LEVEL  # leaves along the edge of a face
_U1, _U2 = np.uint64(1), np.uint64(2)
_POSITION_BITS = np.uint64(2 * MAX_LEVEL + 1)
_STEP = 6  # levels of the curve in one look-up: five look-ups walk all thirty
_STEP_MASK = (1 << _STEP) - 1
_CHUNK = 1 << 15  # points at once: what is in work stays in the cache

# The Hilbert curve: in orientation o the quarter that comes p-th has (i, j) bits _QUARTER[o, p]; inside it
# the orientation is o ^ _TURN[p] (bit 0: i and j change places, bit 1: both are mirrored).
_QUARTER = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])
_TURN = np.array([1, 0, 0, 3])


def leaf_ids(lat_deg: ArrayLike, lon_deg: ArrayLike) -> Ids:
    """The ids of the leaf cells that hold some positions.

    Args:
        lat_deg: degrees north, -90 to 90.
        lon_deg: degrees east, -180 to 180.

    Shape:
        lat_deg, lon_deg: (N,); returns: (N,).

    Raises:
        ValueError: the shapes differ, or a position is not a number or out of range.
    """
    lat, lon = checked_positions(lat_deg, lon_deg)
    ids = np.empty(len(lat), np.uint64)
    for start in range(0, len(lat), _CHUNK):
        part = slice(start, start + _CHUNK)
        face, u, v = _cube(*_vectors(lat[part], lon[part]))
        ids[part] = _from_face_ij(face, _leaf_number(u), _leaf_number(v))
    return ids


def checked_positions(lat_deg: ArrayLike, lon_deg: ArrayLike) -> tuple[Floats, Floats]:
    """Latitudes and longitudes as two arrays of doubles, one dimension each.

    Raises:
        ValueError: the shapes differ, or a position is not a number or out of range; the message names it.
    """
    lat, lon = (np.atleast_1d(np.asarray(item, np.float64)) for item in (lat_deg, lon_deg))
    if lat.shape != lon.shape or lat.ndim != 1:
        raise ValueError(f"expected as many latitudes as longitudes, got shapes {lat.shape} and {lon.shape}")
    wrong = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 180))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"position {at} is latitude {lat[at]}, longitude {lon[at]}; "
            "expected degrees from -90 to 90 north and -180 to 180 east"
        )
    return lat, lon


def unit_vectors(lat_deg: ArrayLike, lon_deg: ArrayLike) -> Floats:
    """Positions as points of the unit sphere.

    Shape:
        lat_deg, lon_deg: (N,) degrees; returns: (N, 3).

    Raises:
        ValueError: as for :func:`checked_positions`.
    """
    return np.stack(_vectors(*checked_positions(lat_deg, lon_deg)), axis=1)


def degrees(vectors: Floats) -> tuple[Floats, Floats]:
    """Latitude and longitude in degrees of points (N, 3), whatever their length above 0."""
    x, y, z = (vectors[..., axis] + 0.0 for axis in range(3))  # -0 becomes 0, so that -180 becomes 180
    lat = np.arctan2(z, np.sqrt(x * x + y * y)) * (180 / pi)
    lon = np.arctan2(y, x) * (180 / pi)
    return lat, lon


def levels(ids: Ids) -> Ints:
    """The level of each cell, 0 to 30."""
    lowest = _lowest_bit(ids)
    _, zeros = np.frexp(lowest.astype(np.float64))  # powers of two: one more than their zeros
    return MAX_LEVEL - ((zeros.astype(np.int64) - 1) >> 1)


def valid(ids: Ids) -> NDArray[np.bool_]:
    """Whether each number is the id of a cell."""
    lowest = _lowest_bit(ids)
    on_cube, even = ids >> _POSITION_BITS < FACES, lowest & np.uint64(0x1555555555555555) != 0
    return np.asarray(on_cube & even, np.bool_)


def parents(ids: Ids, level: int | Ints) -> Ids:
    """The cells of a level that hold these cells.

    Args:
        ids: cells of that level or deeper.
        level: 0 to 30, one for all or one for each.

    Raises:
        ValueError: a cell is above the level asked for.
    """
    if np.any(levels(ids) < level):
        raise ValueError(f"a cell of level {levels(ids).min()} has no parent at level {np.max(level)}")
    bit = _bit_of_level(level)
    return (ids & (~bit + _U1)) | bit


def children(ids: Ids) -> Ids:
    """The four cells one level down, in the order of the curve; none of ``ids`` may be a leaf.

    Shape:
        ids: (N,); returns: (N, 4).
    """
    lowest = _lowest_bit(ids)
    quarter = lowest >> _U2
    first = ids - lowest + quarter
    return first[:, None] + np.outer(quarter * _U2, np.arange(4, dtype=np.uint64))


def ranges(ids: Ids) -> tuple[Ids, Ids]:
    """The first and the last leaf of each cell: what lies between lies in the cell."""
    reach = _lowest_bit(ids) - _U1
    return ids - reach, ids + reach


def faces(level: int = 0) -> Ids:
    """All cells of a level in the order of the curve: 6 * 4 ** level of them."""
    ids: Ids = np.arange(FACES, dtype=np.uint64) << _POSITION_BITS | _bit_of_level(0)
    for _ in range(level):
        ids = children(ids).ravel()
    return ids


def tokens(ids: Ids) -> list[str]:
    """The short names of cells: hexadecimal without the zeros at the end."""
    return [f"{number:016x}".rstrip("0") or "X" for number in ids.tolist()]


def from_tokens(names: list[str]) -> Ids:
    """The cells with these short names.

    Raises:
        ValueError: a name is not that of a cell; the message gives it.
    """
    ids = np.zeros(len(names), np.uint64)
    for number, name in enumerate(names):
        try:
            ids[number] = int(name.ljust(16, "0"), 16)
        except (ValueError, OverflowError):
            raise ValueError(f"{name!r} is no S2 token; expected up to 16 hexadecimal digits") from None
    good = valid(ids)
    if not good.all():
        raise ValueError(f"{names[int((~good).argmax())]!r} is no cell of S2: no cell has that number")
    return ids


def _lowest_bit(ids: Ids) -> Ids:
    return ids & (~ids + _U1)


def _bit_of_level(level: int | Ints) -> Ids:
    shift: Ids = np.asarray(2 * (MAX_LEVEL - np.asarray(level, np.int64)), np.uint64)
    return _U1 << shift


def _vectors(lat: Floats, lon: Floats) -> tuple[Floats, Floats, Floats]:
    (north, across), (east, ahead) = (sin_cos(item * (pi / 180)) for item in (lat, lon))
    return ahead * across, east * across, north


def _cube(x: Floats, y: Floats, z: Floats) -> tuple[Ints, Floats, Floats]:
    """Face of the cube and the two coordinates on it, each -1 to 1."""
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    axis = np.where(ax > ay, np.where(ax > az, 0, 2), np.where(ay > az, 1, 2))
    longest = np.choose(axis, (x, y, z))
    behind = longest < 0
    item, other = np.where(axis == 0, y, -x), np.where(axis == 2, -y, z)
    u, v = np.where(behind, other, item), np.where(behind, item, other)
    return axis + 3 * behind, u / longest, v / longest


def _leaf_number(u: Floats) -> Ints:
    root = 0.5 * np.sqrt(1 + 3 * np.abs(u))
    s = np.where(u >= 0, root, 1 - root)
    numbers: Ints = np.minimum((_SIDE * s).astype(np.int64), _SIDE - 1)  # s is never below 0
    return numbers


@cache
def _curve_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Six levels of the curve at once: (i, j, orientation) -> (position, orientation) and back."""
    o = np.arange(4)
    i, j, turned = np.zeros((1, 4), np.int64), np.zeros((1, 4), np.int64), o[None].copy()
    for _ in range(_STEP):
        bits = _QUARTER[turned]  # (positions so far, orientation at the start, quarter)
        i, j = ((item[..., None] << 1 | part) for item, part in ((i, bits >> 1), (j, bits & 1)))
        turned = turned[..., None] ^ _TURN
        i, j, turned = (item.swapaxes(1, 2).reshape(-1, 4) for item in (i, j, turned))
    position = np.arange(len(i))[:, None]
    forth, back = np.empty(4 << 2 * _STEP, np.int64), np.empty(4 << 2 * _STEP, np.int64)
    there = i << (_STEP + 2) | j << 2 | o
    here = position << 2 | o
    forth[there] = position << 2 | turned
    back[here] = i << (_STEP + 2) | j << 2 | turned
    return forth, back


def _from_face_ij(face: Ints, i: Ints, j: Ints) -> Ids:
    forth, _ = _curve_tables()
    turned = face & 1
    position = face
    for shift in range(MAX_LEVEL - _STEP, -1, -_STEP):
        at = (i >> shift & _STEP_MASK) << (_STEP + 2) | (j >> shift & _STEP_MASK) << 2 | turned
        result = forth[at]
        position = position << 2 * _STEP | result >> 2
        turned = result & 3
    return position.astype(np.uint64) << _U1 | _U1


def face_ij(ids: Ids) -> tuple[Ints, Ints, Ints]:
    """Face, and the numbers along its two axes of the first leaf on the way to each cell's middle.

    Returns:
        face 0 to 5; i and j from 0 to 2**30 - 1.
    """
    _, back = _curve_tables()
    position = (ids >> _U1).astype(np.int64)
    face = position >> 2 * MAX_LEVEL
    turned = face & 1
    i, j = np.zeros_like(face), np.zeros_like(face)
    for shift in range(2 * (MAX_LEVEL - _STEP), -1, -2 * _STEP):
        result = back[(position >> shift & (1 << 2 * _STEP) - 1) << 2 | turned]
        i = i << _STEP | result >> (_STEP + 2)
        j = j << _STEP | result >> 2 & _STEP_MASK
        turned = result & 3
    return face, i, j
