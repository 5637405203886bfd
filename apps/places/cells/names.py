"""Cells as the class names of a checkpoint: all that a model needs to answer is in its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from apps.places.cells import s2
from apps.places.cells.partition import CellPartition, find


def names_of(grids: Sequence[CellPartition]) -> tuple[str, ...]:
    """``PARTITION/TOKEN/LAT/LON/WEIGHT`` of each cell, coarsest partition first."""
    return tuple(
        f"{number}/{token}/{lat:.6f}/{lon:.6f}/{weight:g}"
        for number, grid in enumerate(grids)
        for token, lat, lon, weight in zip(
            s2.tokens(grid.ids), grid.lat.tolist(), grid.lon.tolist(), grid.weights.tolist(), strict=True
        )
    )


def grids_of(names: Sequence[str]) -> tuple[CellPartition, ...]:
    """The grids that :func:`names_of` named.

    Raises:
        ValueError: a name is none of a cell.
    """
    parts: dict[int, list[tuple[str, float, float, float]]] = {}
    for name in names:
        try:
            number, token, lat, lon, weight = name.split("/")
            parts.setdefault(int(number), []).append((token, float(lat), float(lon), float(weight)))
        except ValueError as err:
            raise ValueError(f"{name!r} names no cell; expected PARTITION/TOKEN/LAT/LON/WEIGHT") from err
    grids: list[CellPartition] = []
    for _, rows in sorted(parts.items()):
        ids = s2.from_tokens([row[0] for row in rows])
        latitudes, longitudes, weights = (np.array([row[n] for row in rows]) for n in (1, 2, 3))
        grid = CellPartition(
            ids, weights, latitudes, longitudes, np.full(len(ids), -1), None, float(weights.sum())
        )
        grids.append(replace(grid, parents=find(grids[-1].ids, s2.ranges(ids)[0])) if grids else grid)
    return tuple(grids)
