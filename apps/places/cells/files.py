"""Grids of cells on disk: CSV, Parquet and GeoJSON with the same columns."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.files import writable_folder, write_text, write_whole
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition, Limits, find
from datasets.outside import one_line, regular_file
from datasets.parquet import read_parquet
from datasets.validation import read_text

COLUMNS = (
    "partition", "token", "level", "weight", "lat", "lon", "area_km2", "parent",
    "t_max", "t_min", "min_level", "max_level", "total",
)
ALIASES = {  # what others call our columns
    "token": ("token", "hex_id", "s2_token", "cell"),
    "weight": ("weight", "imgs_per_cell", "count"),
    "lat": ("lat", "latitude", "latitude_mean"),
    "lon": ("lon", "lng", "longitude", "longitude_mean"),
}
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".geojson": "geojson", ".json": "geojson", "": "parquet"}
MOST_WEIGHT = 1e15  # of a cell: sums and products of such stay finite
_LIMITS = ("t_max", "t_min", "min_level", "max_level")

Row = dict[str, Any]


def fingerprint(grids: Sequence[CellPartition]) -> str:
    """16 hex digits over the cells of all grids: equal for files in any format with the same classes."""
    digest = hashlib.sha256()
    for grid in grids:
        digest.update(len(grid).to_bytes(8, "little") + grid.ids.astype("<u8").tobytes())
    return digest.hexdigest()[:16]


def check_same_cells(grids: Sequence[CellPartition], expected: str, what: str) -> None:
    """Refuse cells that are not those of a checkpoint: its classes would be other places.

    Args:
        expected: the fingerprint that the checkpoint stores.
        what: the checkpoint's name for the message.

    Raises:
        ValueError: the fingerprints differ; both are named.
    """
    custom = fingerprint(grids)
    if custom != expected:
        sizes = " + ".join(str(len(grid)) for grid in grids)
        raise ValueError(
            f"{what} was trained on other cells (fingerprint {expected}) than the {sizes} given ({custom}); "
            "give the cells that it was trained on"
        )


def check_suffix(path: Path) -> str:
    """The format that a file's name asks for; without a suffix it is Parquet.

    Raises:
        ValueError: the suffix is another.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(suffix for suffix in SUFFIXES if suffix)
        raise ValueError(f"{path} has the suffix {path.suffix}; cells are written as {known}")
    return kind


def write_cells(path: Path, grids: Sequence[CellPartition]) -> None:
    """Write grids, coarsest first, into one file; its suffix tells the format."""
    kind = check_suffix(path)
    writable_folder(path.parent)
    rows = [row for number in range(len(grids)) for row in rows_of(grids, number)]
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pylist(rows)
        write_whole(path, lambda temporary: parquet.write_table(table, temporary))
    elif kind == "csv":
        write_whole(path, lambda temporary: _write_csv(temporary, rows))
    else:
        write_text(path, json.dumps(geojson(grids, rows), allow_nan=False))


def rows_of(grids: Sequence[CellPartition], number: int) -> list[Row]:
    """One row a cell of a grid, with the columns of :data:`COLUMNS`."""
    grid = grids[number]
    areas, levels = s2_shapes.areas_km2(grid.ids).tolist(), s2.levels(grid.ids).tolist()
    above = s2.tokens(grids[number - 1].ids) if number else []
    parents = [above[item] if item >= 0 else "" for item in grid.parents.tolist()]
    common = {name: getattr(grid.limits, name, None) for name in _LIMITS} | {"total": grid.total}
    columns = zip(
        s2.tokens(grid.ids), levels, grid.weights.tolist(), grid.lat.tolist(), grid.lon.tolist(), areas,
        parents, strict=True,
    )
    names = COLUMNS[1:8]
    return [{"partition": number, **dict(zip(names, column, strict=True)), **common} for column in columns]


def geojson(grids: Sequence[CellPartition], rows: list[Row]) -> dict[str, Any]:
    """A FeatureCollection after RFC 7946: a polygon a cell, none across the antimeridian."""
    ids = [number for grid in grids for number in grid.ids.tolist()]
    features = [
        {"type": "Feature", "geometry": polygon(item), "properties": row}
        for item, row in zip(ids, rows, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def polygon(cell: int) -> dict[str, Any]:
    """A cell as a GeoJSON geometry; a face of the cube has four parts."""
    rings = [np.round(ring, 9).tolist() for ring in s2_shapes.outline(cell)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def read_cells(path: Path) -> tuple[CellPartition, ...]:
    """The grids of a file in one of the three formats, known by its content; coarsest first.

    Only a column of S2 tokens is needed (also called hex_id). Missing weights are 1, missing
    representatives are the middles of the cells.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of the formats, has no tokens, a bad one, or cells that overlap.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is no file; make it with: python cli.py cells build")
    with one_line(path, "make it again with: python cli.py cells build", "has no cells that can be read"):
        return _grids(_read_rows(path))


def _read_rows(path: Path) -> list[Row]:
    with regular_file(path).open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PAR1"):
        return [dict(row) for row in read_parquet(path).to_pylist()]
    if start.startswith(b"{"):
        document = json.loads(read_text(path))
        return [dict(feature["properties"]) for feature in document["features"]]
    return list(csv.DictReader(io.StringIO(read_text(path))))


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _grids(rows: list[Row]) -> tuple[CellPartition, ...]:
    if not rows:
        raise ValueError("it has no row")
    names = {
        key: next((alias for alias in aliases if alias in rows[0]), None) for key, aliases in ALIASES.items()
    }
    if names["token"] is None:
        raise ValueError(f"it has no column token, only {', '.join(map(str, rows[0]))}")
    parts: dict[int, list[Row]] = {}
    for row in rows:
        named = {key: row[name] for key, name in names.items() if name}
        parts.setdefault(int(row.get("partition") or 0), []).append({**row, **named})
    grids: list[CellPartition] = []
    for number in sorted(parts):
        grid = _grid(parts[number])
        parents = find(grids[-1].ids, s2.ranges(grid.ids)[0]) if grids else grid.parents
        grids.append(replace(grid, parents=parents))
    return tuple(grids)


def _grid(rows: list[Row]) -> CellPartition:
    ids = s2.from_tokens([str(row["token"]) for row in rows])
    order = np.argsort(ids)
    ids = ids[order]
    first, last = s2.ranges(ids)
    overlap = np.flatnonzero(first[1:] <= last[:-1])
    if len(overlap):
        two = " and ".join(s2.tokens(ids[overlap[0] : overlap[0] + 2]))
        raise ValueError(f"cells {two} overlap in one partition")
    middle_lat, middle_lon = s2_shapes.centres_deg(ids)
    columns = {name: _column(rows, name)[order] for name in ("lat", "lon", "weight")}
    lat, lon = s2.checked_positions(
        *(np.where(np.isnan(columns[key]), middle, columns[key])
          for key, middle in (("lat", middle_lat), ("lon", middle_lon)))
    )
    weights = np.where(np.isnan(columns["weight"]), 1.0, columns["weight"])
    if not ((weights >= 0) & (weights <= MOST_WEIGHT)).all() or not weights.any():
        raise ValueError(f"a cell's weight must be 0 to {MOST_WEIGHT:g}, and that of some above 0")
    total = _first(rows[0], "total") or 0.0
    if not 0 <= total <= MOST_WEIGHT * len(ids):
        raise ValueError(f"the total weight must be 0 or more, and finite, got {total}")
    return CellPartition(ids, weights, lat, lon, np.full(len(ids), -1), _limits(rows[0]), total)


def _column(rows: Iterable[Row], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if row.get(name) in (None, "") else float(row[name]) for row in rows], np.float64)


def _first(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value in (None, "") else float(str(value))


def _limits(row: Row) -> Limits | None:
    t_max, t_min, low, high = (_first(row, name) for name in _LIMITS)
    if t_max is None or t_min is None or low is None or high is None:
        return None
    return Limits(t_max, t_min, int(low), int(high))
