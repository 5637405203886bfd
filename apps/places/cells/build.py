"""What ``cells`` does: build a partition from positions, tell what it is worth, convert it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.places.cells import s2, s2_shapes
from apps.places.cells.files import check_suffix, read_cells, write_cells
from apps.places.cells.partition import CellPartition, Limits, build
from apps.places.cells.sphere import EARTH_AREA_KM2, EARTH_RADIUS_KM, distance_km
from apps.places.geo_metrics import DISTANCES_KM
from apps.places.maps.world import load_world
from datasets.geo.geotags import read_folder
from datasets.geo.position_tables import read_positions
from datasets.geo.positions import Positions

if TYPE_CHECKING:
    from apps.engine.core.console import Console

LAND_SAMPLE = 500  # positions that are looked up on the map
LITTLE_LAND, MUCH_LAND = 0.4, 0.8



def positions_from(source: Path) -> Positions:
    """The positions of a folder of images or of a table.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: none can be read there.
    """
    return read_folder(source) if source.is_dir() else read_positions(source)


def swapped_by_land(positions: Positions) -> str | None:
    """A warning if hardly any position is on land but most would be with latitude and longitude swapped.

    Numbers alone do not tell where both are below 90 degrees: Europe lies in the Indian Ocean then.
    """
    chosen = np.linspace(0, len(positions) - 1, min(len(positions), LAND_SAMPLE)).astype(int)
    lat, lon = positions.lat[chosen], positions.lon[chosen]
    turnable = np.abs(lon) <= 90
    if not turnable.any():
        return None
    world = load_world()
    as_is = float((world.country_codes(lat[turnable], lon[turnable]) != "").mean())
    turned = float((world.country_codes(lon[turnable], lat[turnable]) != "").mean())
    if as_is > LITTLE_LAND or turned < MUCH_LAND:
        return None
    return (
        f"{as_is:.0%} of the positions are on land; with latitude and longitude swapped {turned:.0%} "
        "would be: look whether the columns have the right names"
    )


def build_cells(source: Path, out: Path, limits: Sequence[Limits], console: Console) -> dict[str, Any]:
    """Build a partition from positions and write it; returns what it is like."""
    start = time.monotonic()
    check_suffix(out)
    positions = _read(source, console)
    if positions.weights is not None:
        console.say(f"{source} has weights: they count instead of photos")
    grids = build(positions.lat, positions.lon, limits, positions.weights)
    write_cells(out, grids)
    return {
        **summary(grids), "points": len(positions), "skipped": positions.skipped, "out": str(out),
        "seconds": round(time.monotonic() - start, 2),
    }


def report_cells(cells: Path, points: Path | None, console: Console) -> dict[str, Any]:
    """What a partition is like and, with test points, the best that any classifier over it could reach."""
    grids = read_cells(cells)
    result = summary(grids)
    if points is None:
        return result
    positions = _read(points, console)
    for grid, item in zip(grids, [*result.get("coarser", []), result], strict=True):
        item.update(report_of(grid, positions))
    counted = {"points": len(positions), "skipped": positions.skipped}
    return {**result, **counted, "earth_radius_km": EARTH_RADIUS_KM}


def _read(source: Path, console: Console) -> Positions:
    """Positions, after everything that a user should know of them has been said."""
    positions = positions_from(source)
    doubt = None if source.is_dir() else swapped_by_land(positions)
    for line in (*positions.remarks(), *([doubt] if doubt else [])):
        console.warn(line)
    return positions


def convert_cells(cells: Path, out: Path) -> dict[str, Any]:
    """Write the cells of a file in another format; returns what they are like."""
    check_suffix(out)
    grids = read_cells(cells)
    write_cells(out, grids)
    return {**summary(grids), "out": str(out)}


def summary(grids: Sequence[CellPartition]) -> dict[str, Any]:
    """Number, levels, coverage, area and balance of the finest grid; ``coarser`` has the others."""
    *coarser, finest = [_summary(grid) for grid in grids]
    return {**finest, "coarser": coarser} if coarser else finest


def _summary(grid: CellPartition) -> dict[str, Any]:
    levels, counts = np.unique(s2.levels(grid.ids), return_counts=True)
    areas = s2_shapes.areas_km2(grid.ids)
    shares = grid.weights / grid.weights.sum()
    return {
        "cells": len(grid),
        "coverage": float(grid.weights.sum() / grid.total) if grid.total else None,
        "levels": {str(level): count for level, count in zip(levels.tolist(), counts.tolist(), strict=True)},
        "area_km2": {**_spread(areas), "total": float(areas.sum()),
                     "share_of_earth": float(areas.sum() / EARTH_AREA_KM2)},
        "photos_a_cell": _spread(grid.weights),
        "effective_cells": float(np.exp(-(shares * np.log(shares, where=shares > 0, out=shares * 0)).sum())),
        "limits": None if grid.limits is None else vars(grid.limits),
    }


def _spread(values: s2.Floats) -> dict[str, float]:
    return {"min": float(values.min()), "median": float(np.median(values)), "max": float(values.max())}


def report_of(grid: CellPartition, positions: Positions) -> dict[str, Any]:
    """Coverage of test points, and what classifiers could reach on them, as shares within the distances.

    ``ceiling`` is the best that any classifier over these cells could reach: for every image the nearest
    representative. ``right_cell`` is what one reaches that always names the cell that holds the image.
    """
    index, inside = grid.assign(positions.lat, positions.lon)
    nearest = grid.nearest(positions.lat, positions.lon)[1]
    custom = distance_km(positions.lat, positions.lon, grid.lat[index], grid.lon[index])
    return {
        "coverage": float(inside.mean()), "outside": int((~inside).sum()),
        "ceiling": within(nearest), "right_cell": within(custom),
        "ceiling_median_km": float(np.median(nearest)), "right_cell_median_km": float(np.median(custom)),
    }


def within(distances: s2.Floats) -> dict[str, float]:
    """Shares of distances in km that are at most 1, 25, 200, 750 and 2500."""
    return {f"within_{km}km": float((distances <= km).mean()) for km in DISTANCES_KM}
