"""Positions from a table: CSV or Parquet with a latitude and a longitude in every row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets import tables
from datasets.geo.angles import degrees
from datasets.geo.positions import Filter, Floats, LeftOut, Positions, check_swapped, repeated_positions
from datasets.tables import Misfit, Pick

NAMES = {
    "lat": ("lat", "latitude", "lat_deg", "gps_latitude"),
    "lon": ("lon", "longitude", "lng", "long", "lon_deg", "gps_longitude"),
    "path": (
        "path", "photo", "image", "file", "filename", "img_path", "image_path", "img_file", "img_id",
        "image_id", "file_name", "image_name",
    ),
    "weight": ("weight", "weights"),
    "author": ("author", "user", "user_id", "owner", "photographer"),
    "time": ("time", "taken", "datetime", "date"),
}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d{1,3},\d+\s*")


class Table(tables.Table):
    """A table some of whose columns are positions."""

    def numbers(self, key: str) -> Floats:
        """A column as doubles, degree signs and N, S, E, W understood; NaN for what is no number.

        Raises:
            ValueError: numbers have decimal commas.
        """
        return _numbers(self.columns[key], self.path, key)

    def left_out(self) -> list[LeftOut]:
        """The rows that do not fit the heading, as a remark."""
        return _misfit(self.path, self.misfits)


class Rows(Sequence[str]):
    """What messages call the rows of a table: ``row 7 of points.csv``, the first below the heading is 1."""

    def __init__(self, where: str, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.where, self.numbers = where, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"row {self.numbers[index]} of {self.where}"


def read_positions(path: Path | str) -> Positions:
    """The positions of a CSV or Parquet table, checked row by row.

    Columns are known by their names, in capitals or not: a latitude (lat, latitude), a longitude (lon, lng,
    long, longitude), and where there are such path, weight, author and time.

    Args:
        path: the file; Parquet is known by its content.

    Returns:
        The good rows in their order; ``left_out`` tells of the others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table, a column is missing, numbers have decimal commas, the columns are
            swapped, or no row is good; in one line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a CSV or Parquet table with columns lat and lon")
    table = read_table(path, _wanted)
    if len(table) == 0:
        bad = _misfits(table.misfits)
        raise ValueError(f"{path} has no rows{bad}; give one photo a row, with columns lat and lon")
    return _checked(table)


def read_table(path: Path, pick: Pick, *, headless: Sequence[str] = ()) -> Table:
    """Columns of a CSV or Parquet file, as :func:`datasets.tables.read_table` reads them.

    Raises:
        ValueError: it is no table, numbers have decimal commas, or ``pick`` refuses the heading.
    """
    table = tables.read_table(path, pick, headless=headless)
    commas = [
        row.text.strip() for row in table.misfits if table.separator == "," and _DECIMAL_COMMA.match(row.text)
    ]
    if len(commas) > len(table):
        raise ValueError(_decimal_comma(path, commas[0]))
    return Table(**vars(table))


def _checked(table: Table) -> Positions:
    path, columns = table.path, table.columns
    lat, lon = (table.numbers(key) for key in ("lat", "lon"))
    check_swapped(lat, lon, str(path))
    names = Rows(path.name, table.rows)
    check = Filter(names)
    check.drop_impossible(lat, lon)
    weights = None
    if "weight" in columns:
        weights = table.numbers("weight")
        check.drop(~(np.isfinite(weights) & (weights > 0)), "weight is not a number above 0")
    texts = {key: table.texts(key) for key in ("path", "author", "time") if key in columns}
    if "path" in texts:
        check.drop_repeated(texts["path"])
    keep = check.keep
    if not keep.any():
        reasons = "; ".join(map(str, check.left_out))
        raise ValueError(f"{path} has no good row: {reasons}")
    lat, lon = lat[keep], lon[keep]
    kept = {key: _kept(column, keep.tolist()) for key, column in texts.items()}
    return Positions(
        lat, lon, weights=None if weights is None else weights[keep], paths=kept.get("path", ()),
        authors=kept.get("author", ()), times=kept.get("time", ()),
        left_out=(*check.left_out, *table.left_out()), notes=_notes(path, lat, lon),
    )


def _kept(values: list[str], keep: list[bool]) -> tuple[str, ...]:
    """The texts of the good rows."""
    return tuple(value for value, good in zip(values, keep, strict=True) if good)


def _misfit(path: Path, misfits: list[Misfit]) -> list[LeftOut]:
    if not misfits:
        return []
    first = f"row {misfits[0].row} of {path.name}"
    return [LeftOut("it has more or fewer fields than the heading", len(misfits), first)]


def _notes(path: Path, lat: Floats, lon: Floats) -> list[str]:
    again = repeated_positions(lat, lon)
    all_counted = f"{again} of {len(lat)} positions in {path.name} equal another one exactly: all are counted"
    return [all_counted] if again else []


def _wanted(path: Path, heading: list[str]) -> dict[str, str]:
    """Our names -> the names in the file."""
    plain = {name.strip().lower(): name for name in reversed(heading)}
    results = {
        key: next(plain[item] for item in names if item in plain)
        for key, names in NAMES.items() if any(name in plain for name in names)
    }
    missing = [f"{key} (or {NAMES[key][1]})" for key in ("lat", "lon") if key not in results]
    if missing:
        shown = ", ".join(heading[:8]) + (", ..." if len(heading) > 8 else "")
        raise ValueError(
            f"{path} has no column {' and no column '.join(missing)}; its first line is: {shown}; "
            "expected names of columns there, such as path,lat,lon"
        )
    return results


def _numbers(column: Any, path: Path, name: str) -> Floats:
    """A column as doubles; what is no number becomes NaN, decimal commas are refused."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = compute.utf8_trim_whitespace(column)
        return np.asarray(compute.cast(column, pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # texts, or lists and the like
        return np.array([_number(item, path, name) for item in column.to_pylist()])


def _number(text: Any, path: Path, name: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        if not isinstance(text, str):
            return float("nan")
    if _DECIMAL_COMMA.fullmatch(text):
        raise ValueError(_decimal_comma(path, f"{name} {text.strip()}"))
    return degrees(text, {"lat": "NS", "lon": "EW"}.get(name[-3:], ""))


def _decimal_comma(path: Path, seen: str) -> str:
    return f"{path} has numbers with decimal commas ({seen}); write them with points, as 48.85"


def _misfits(bad: list[Misfit]) -> str:
    return f" that fit its heading ({len(bad)} do not)" if bad else ""
