"""PlaNet's adaptive partition: small cells where many images are, large where few, none where hardly any.

Source: Weyand, Kostrikov and Philbin 2016, PlaNet - Image Geolocation with Convolutional Neural Networks,
section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apps.places.cells import s2, s2_shapes
from apps.places.cells.s2 import MAX_LEVEL, Floats, Ids, Ints
from apps.places.cells.sphere import Nearest


@dataclass(frozen=True)
class Limits:
    """When a cell is split and when it is dropped.

    Args:
        t_max: a cell with more images (or weight) than this is split; above 0.
        t_min: a cell is kept if it has more images than this; 0 up, below ``t_max``.
        min_level: level of the largest cells, 0 to 30.
        max_level: level below which nothing is split, min_level to 30.

    Raises:
        ValueError: a number is out of its range.
    """

    t_max: float
    t_min: float
    min_level: int = 2
    max_level: int = MAX_LEVEL

    def __post_init__(self) -> None:
        if not 0 <= self.t_min < self.t_max:
            raise ValueError(f"expected 0 <= t_min < t_max, got {self.t_min:g} and {self.t_max:g}")
        if self.t_max == float("inf"):
            raise ValueError("expected a finite t_max, got inf; for a single cell give more than all photos")
        if not 0 <= self.min_level <= self.max_level <= MAX_LEVEL:
            raise ValueError(
                f"expected levels 0 <= min <= max <= {MAX_LEVEL}, got {self.min_level} and {self.max_level}"
            )


@dataclass(frozen=True, eq=False)
class CellPartition:
    """Cells that do not overlap, in the order of the curve.

    Args:
        ids: (K,) cells, ascending.
        weights: (K,) images in each, or their weight.
        lat: (K,) latitude of each cell's representative, the mean of its images on the sphere.
        lon: (K,) its longitude.
        parents: (K,) index of the cell of the next coarser grid that holds it; -1 where there is none.
        limits: what it was built with, or None where not known.
        total: weight of all images that it was built from, those outside included; 0 where not known.
    """

    ids: Ids
    weights: Floats
    lat: Floats
    lon: Floats
    parents: Ints
    limits: Limits | None = None
    total: float = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def nearest(self) -> Nearest:
        """Finds the nearest representative."""
        return Nearest(self.lat, self.lon)

    def locate(self, lat: ArrayLike, lon: ArrayLike) -> Ints:
        """The cell of each position, or -1 where none holds it."""
        return find(self.ids, s2.leaf_ids(lat, lon))

    def assign(self, lat: ArrayLike, lon: ArrayLike) -> tuple[Ints, NDArray[np.bool_]]:
        """The cell of each position, and a flag that is False where no cell holds it.

        There it is the cell with the nearest representative.
        """
        lat, lon = s2.checked_positions(lat, lon)
        index = self.locate(lat, lon)
        inside = index >= 0
        if not inside.all():
            index[~inside] = self.nearest(lat[~inside], lon[~inside])[0]
        return index, inside


def find(ids: Ids, leaves: Ids) -> Ints:
    """For each leaf the index of the cell that holds it, or -1; ``ids`` ascend and do not overlap."""
    first, last = s2.ranges(ids)
    index = np.searchsorted(first, leaves, side="right").astype(np.int64) - 1
    return np.where((index >= 0) & (leaves <= last[index]), index, -1)


def build(
    lat_deg: ArrayLike, lon_deg: ArrayLike, limits: Limits | Sequence[Limits],
    weights: ArrayLike | None = None,
) -> tuple[CellPartition, ...]:
    """One grid for each of ``limits``; every further grid splits the cells of the one before it.

    Args:
        lat_deg: (N,) degrees north.
        lon_deg: (N,) degrees east.
        limits: coarsest first: ``t_max`` must not rise.
        weights: (N,) above 0; without them every image counts 1.

    Raises:
        ValueError: an argument is out of range, or no cell has more than ``t_min`` images.
    """
    wanted = (limits,) if isinstance(limits, Limits) else tuple(limits)
    if any(fine.t_max > coarse.t_max for coarse, fine in pairwise(wanted)):
        raise ValueError(f"expected t_max from the coarsest down, got {[entry.t_max for entry in wanted]}")
    photos = _Photos(lat_deg, lon_deg, weights)
    grids: list[CellPartition] = []
    for item in wanted:
        start = grids[-1].ids if grids else s2.faces(item.min_level)
        ids = _split(photos, start, item)
        grid = photos.grid(ids, item)
        grids.append(replace(grid, parents=find(start, s2.ranges(ids)[0])) if grids else grid)
    return tuple(grids)


class _Photos:
    """Positions in the order of the curve, so that every cell is a run of them."""

    def __init__(self, lat_deg: ArrayLike, lon_deg: ArrayLike, weights: ArrayLike | None) -> None:
        lat, lon = s2.checked_positions(lat_deg, lon_deg)
        if len(lat) == 0:
            raise ValueError("expected positions of photos, got none")
        leaves = s2.leaf_ids(lat, lon)
        order = np.argsort(leaves)
        self.leaves = leaves[order]
        self.lat, self.lon = lat[order], lon[order]
        self.weights = None if weights is None else _checked_weights(weights, len(lat))[order]
        self.sums = None if self.weights is None else np.concatenate([[0.0], np.cumsum(self.weights)])

    def runs(self, ids: Ids) -> tuple[Ints, Ints]:
        """Where the images of each cell begin and end."""
        first, last = s2.ranges(ids)
        return np.searchsorted(self.leaves, first), np.searchsorted(self.leaves, last, side="right")

    def weigh(self, ids: Ids) -> Floats:
        """Photos in each cell, or their weight."""
        start, end = self.runs(ids)
        return (end - start).astype(np.float64) if self.sums is None else self.sums[end] - self.sums[start]

    def grid(self, ids: Ids, limits: Limits) -> CellPartition:
        """Cells with what their images say of them; ``ids`` ascend and none is empty."""
        lat, lon = self._means(ids)
        total = float(len(self.leaves)) if self.sums is None else float(self.sums[-1])
        parents = np.full(len(ids), -1, np.int64)
        return CellPartition(ids, self.weigh(ids), lat, lon, parents, limits, total)

    def _means(self, ids: Ids) -> tuple[Floats, Floats]:
        start, end = self.runs(ids)
        bounds = np.stack([start, end], axis=1).ravel()
        bounds = bounds[:-1] if bounds[-1] == len(self.leaves) else bounds
        sums = np.empty((len(ids), 3))
        for axis, values in enumerate(s2.unit_vectors(self.lat, self.lon).T):
            weighed = values if self.weights is None else values * self.weights
            sums[:, axis] = np.add.reduceat(weighed, bounds)[::2]
        centred = np.linalg.norm(sums, axis=1) < 1e-9  # images that cancel each other out
        sums[centred] = s2_shapes.centres(ids[centred])
        return s2.degrees(sums)


def _checked_weights(weights: ArrayLike, count: int) -> Floats:
    checked = np.asarray(weights, np.float64)
    if checked.shape != (count,) or not (np.isfinite(checked) & (checked > 0)).all():
        raise ValueError(f"expected {count} finite weights above 0, got {len(checked)} from {checked.min()}")
    return checked


def _split(photos: _Photos, ids: Ids, limits: Limits) -> Ids:
    """Split what is too full, level by level; drop what is too empty."""
    done: list[Ids] = []
    fullest = 0.0
    while len(ids):
        weight = photos.weigh(ids)
        kept = weight > limits.t_min
        fullest = max(fullest, float(weight[~kept].max(initial=0.0)))
        ids, weight = ids[kept], weight[kept]
        split = (weight > limits.t_max) & (s2.levels(ids) < limits.max_level)
        done.append(ids[~split])
        ids = s2.children(ids[split]).ravel()
    result = np.sort(np.concatenate(done)) if done else ids
    if len(result) == 0:
        raise ValueError(
            f"no cell has more than {limits.t_min:g} photos (t_min): the fullest has {fullest:g}; "
            "lower t_min, raise t_max or give more photos"
        )
    return result
