"""Photos with positions, from EXIF or a table, and the cells that they are trained by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from apps.engine.data.folds import fold_rows
from apps.places.cells.build import swapped_by_land
from apps.places.cells.files import read_cells
from apps.places.cells.partition import CellPartition, Limits, build
from apps.places.cells.s2 import Ints
from apps.places.targets import offset_targets
from datasets.geo.geotagged import GeoDataset
from datasets.geo.geotags import read_folder
from datasets.geo.position_tables import read_positions
from datasets.geo.positions import LeftOut, Positions
from datasets.geo.splits import linked, split_positions
from datasets.names import NamedPhotos


def read_photo_positions(source: Path) -> Positions:
    """Positions with the images that they belong to; a table's paths start from its folder.

    Raises:
        FileNotFoundError: there is no such source, or none of its images is there.
        ValueError: the table has no column path, or nothing in the source can be read.
    """
    if source.is_dir():
        return read_folder(source)
    positions = read_positions(source)
    if not positions.paths:
        raise ValueError(
            f"{source} has no column path, so its rows name no photos; add one with paths from its folder"
        )
    named = NamedPhotos(source.parent)
    paths = tuple(str(named.find(path) or source.parent / path) for path in positions.paths)
    there = np.array([Path(path).is_file() for path in paths], np.bool_)
    if not there.any():
        raise FileNotFoundError(
            f"none of the {len(paths)} photos in {source} is there, such as {paths[0]}; paths start from the "
            f"folder of the table"
        )
    doubt = swapped_by_land(positions)
    positions = replace(positions, paths=paths, notes=[*positions.notes, *([doubt] if doubt else [])])
    if there.all():
        return positions
    first = paths[int((~there).argmax())]
    gone = LeftOut("there is no such file", int((~there).sum()), first)
    kept = positions.taken(np.flatnonzero(there))
    return replace(kept, left_out=(*positions.left_out, gone), notes=positions.notes)


def split_of(
    positions: Positions, share: float, *, by: str, km: float, seed: int, fold: str | None = None
) -> tuple[Ints, Ints]:
    """Rows of train and of val, or of a fold, both with images; neighbours are on one side."""
    if len(positions) < 2:
        raise ValueError(f"{len(positions)} photo with a position is too few to learn from and evaluate on")
    if fold is not None:
        return fold_rows(len(positions), fold, seed, groups=linked(positions, by, km).tolist())
    return split_positions(positions, share, by=by, km=km, seed=seed)


def cells_for(
    positions: Positions, train: Ints, cells: Path | None, t_max: float, t_min: float
) -> tuple[CellPartition, ...]:
    """The partitions of a file, or one built from the training images.

    Raises:
        ValueError: the finest partition has fewer than two cells.
    """
    if cells is not None:
        grids = read_cells(cells)
    else:
        custom = positions.taken(train)
        grids = build(custom.lat, custom.lon, Limits(t_max, t_min), custom.weights)
    if min(len(grid) for grid in grids) < 2:
        raise ValueError(
            f"a partition has {min(len(grid) for grid in grids)} cell, so there is nothing to tell apart; "
            f"give a lower --t-max or --t-min, other --cells, or more photos"
        )
    return grids


def placed(
    positions: Positions,
    rows: Ints | None,
    grids: Sequence[CellPartition],
    names: Sequence[str],
    *,
    offsets: bool,
) -> GeoDataset:
    """Photos with their cells; ``rows`` None takes all."""
    custom = positions.taken(np.arange(len(positions)) if rows is None else rows)
    cells = np.stack([grid.locate(custom.lat, custom.lon) for grid in grids], axis=1)
    away = offset_targets(grids[-1], cells[:, -1], custom.lat, custom.lon) if offsets else None
    geo_dataset = GeoDataset(custom, cells, names, away)
    outside = int((cells[:, -1] < 0).sum())
    geo_dataset.notes += [f"{outside} of {len(custom)} photos lie in no cell"] if outside else []
    return geo_dataset
