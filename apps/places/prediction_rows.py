"""The rows of a file of predicted positions: which are answers, to which images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.geo.position_tables import Rows, Table
from datasets.geo.positions import Bools, Filter, Floats, Ints, LeftOut, check_swapped

EMPTY = ("", "nan")
SECOND_TABLE = "it begins or belongs to another table below the answers, such as a summary"


@dataclass(frozen=True, eq=False)
class Answers:
    """Predicted positions of N images.

    Args:
        lat: (N,) degrees, NaN where there is no answer.
        lon: (N,) degrees, NaN in the same places.
        names: N names of images, none twice.
        confidence: (N,) 0 to 1, NaN where not known; or None.
        unusable: (N,) where something stands that is no position.
        empty: (N,) where nothing stands.
    """

    lat: Floats
    lon: Floats
    names: tuple[str, ...]
    confidence: Floats | None
    unusable: Bools
    empty: Bools

    def taken(self, index: Ints, names: tuple[str, ...]) -> Answers:
        """Some of the answers in this order by other names, none where the index is -1."""
        lat, lon = (np.append(side, np.nan)[index] for side in (self.lat, self.lon))
        sure = None if self.confidence is None else np.append(self.confidence, np.nan)[index]
        unusable, empty = (np.append(side, False)[index] for side in (self.unusable, self.empty))
        return Answers(lat, lon, names, sure, unusable, empty)


def read_answers(table: Table, rows: Ints) -> Answers:
    """The answers in some rows of a table.

    Raises:
        ValueError: latitude and longitude look swapped, no row has a position, or an image has two.
    """
    lat, lon = (table.numbers(key)[rows] for key in ("lat", "lon"))
    check_swapped(lat, lon, f"{table.path}, predictions")
    texts = [np.array(table.texts(key))[rows] for key in ("lat", "lon")]
    empty = np.logical_and.reduce([np.isin(np.char.lower(column), EMPTY) for column in texts])
    good = (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    if not good.any() and not empty.all():
        first = int((~empty).argmax())
        raise ValueError(
            f"{table.path} has no predicted position, row {table.rows[rows[first]]} has "
            f"lat {str(texts[0][first])!r} and lon {str(texts[1][first])!r}; expected degrees from -90 to 90 "
            "north and -180 to 180 east"
        )
    lat[~good] = lon[~good] = np.nan
    names = _names(table, rows)
    _check_single(table, rows, names)
    confidence = table.numbers("confidence")[rows] if "confidence" in table.columns else None
    return Answers(lat, lon, names, confidence, ~good & ~empty, empty)


def answer_rows(table: Table) -> tuple[Ints, list[LeftOut]]:
    """The rows, from 0, down to where another table follows, and what was left out."""
    check = Filter(Rows(table.path.name, table.rows))
    if {"true_lat", "true_lon"} <= table.columns.keys():
        check.drop(_second_table(table), SECOND_TABLE)
    return np.flatnonzero(check.keep), [*check.left_out, *table.left_out()]


def truth_rows(table: Table) -> tuple[Ints, list[LeftOut]]:
    """The rows, from 0, whose true position is known, and what was left out.

    Raises:
        ValueError: latitude and longitude look swapped, or there is no such row; in one line.
    """
    lat, lon = table.numbers("true_lat"), table.numbers("true_lon")
    check = Filter(Rows(table.path.name, table.rows))
    check.drop(_second_table(table), SECOND_TABLE)
    check_swapped(lat[check.keep], lon[check.keep], f"{table.path}, true positions")
    check.drop(~(np.isfinite(lat) & np.isfinite(lon)), "its true latitude or longitude is not a number")
    check.drop(~((np.abs(lat) <= 90) & (np.abs(lon) <= 180)), "its true position is not on the globe")
    left_out = [*check.left_out, *table.left_out()]
    if not check.keep.any():
        raise ValueError(f"{table.path} has no row with a true position: {'; '.join(map(str, left_out))}")
    return np.flatnonzero(check.keep), left_out


def _second_table(table: Table) -> Bools:
    """Where another table follows: from the first row on that has words in place of all four coordinates.

    The heading itself, repeated where files were put together, begins none.
    """
    keys = ("lat", "lon", "true_lat", "true_lon")
    texts = np.array([table.texts(key) for key in keys])
    words = np.isnan([table.numbers(key) for key in keys]) & ~np.isin(np.char.lower(texts), EMPTY)
    heading = (texts == np.array([[table.names[key].strip()] for key in keys])).all(axis=0)
    begins = words.all(axis=0) & ~heading
    begins[: int((~words).any(axis=0).argmax())] = False  # what stands above all answers is no summary
    after: Bools = np.cumsum(begins) > 0
    return after


def _names(table: Table, rows: Ints) -> tuple[str, ...]:
    if "path" not in table.columns:
        return tuple(f"row {table.rows[row]}" for row in rows)
    texts = table.texts("path")
    return tuple(texts[row] or f"row {table.rows[row]}" for row in rows)


def _check_single(table: Table, rows: Ints, names: Sequence[str]) -> None:
    """Refuse two predictions for one image, with the column that may tell them apart."""
    ((name, count),) = Counter(names).most_common(1)
    if count == 1:
        return
    hint = ""
    if "partition" in table.columns:
        texts = table.texts("partition")
        several = sorted({texts[row] for row in rows})
        hint = f": keep the rows of one {table.names['partition']}, {', '.join(several[:8])}"
    raise ValueError(f"{table.path} has {count} predictions for {name}; expected one for each photo{hint}")
