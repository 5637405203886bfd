"""Where images were taken: checked positions, with what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SWAPPED_SHARE = 0.01  # of the rows, from which on the two columns are taken to be swapped
ZERO = "latitude and longitude are 0, as of a camera without a fix"
NOT_A_NUMBER = "latitude or longitude is not a number"
BEYOND_LAT = "latitude is beyond 90 degrees"
BEYOND_LON = "longitude is beyond 180 degrees"


@dataclass(frozen=True)
class LeftOut:
    """Positions that were passed over for one reason: how many, and the first of them."""

    reason: str
    count: int
    first: str

    def __str__(self) -> str:
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.first}{more}: {self.reason}; left out"


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of N images in degrees, all of them on the globe.

    Args:
        lat: (N,) degrees north.
        lon: (N,) degrees east.
        weights: (N,) numbers above 0, or None for one each.
        paths: N strings that name the images, or none.
        authors: N strings, empty where not known, or none.
        times: N strings that sort by time, empty where not known, or none.
        left_out: what was passed over.
        notes: sentences on what a user should know.
    """

    lat: Floats
    lon: Floats
    weights: Floats | None = None
    paths: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lat)

    @property
    def skipped(self) -> int:
        """How many positions were passed over."""
        return sum(item.count for item in self.left_out)

    def taken(self, rows: Ints) -> Positions:
        """Some of the positions, in this order, without remarks."""
        def some(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(values[row] for row in rows.tolist()) if len(values) else ()

        weights = None if self.weights is None else self.weights[rows]
        return Positions(
            self.lat[rows], self.lon[rows], weights, some(self.paths), some(self.authors), some(self.times)
        )

    def remarks(self) -> list[str]:
        """A line for each thing that a user should know."""
        return [*map(str, self.left_out), *self.notes]


class Filter:
    """Marks what is to be left out of N rows, one reason after the other, the first that fits.

    Args:
        names: what the rows are called in messages, one each.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.keep: Bools = np.ones(len(names), np.bool_)
        self.left_out: list[LeftOut] = []

    def drop(self, wrong: Bools, reason: str) -> None:
        """Leave out the rows of a mask that are still in."""
        wrong = wrong & self.keep
        if wrong.any():
            first = self.names[int(wrong.argmax())]
            self.left_out.append(LeftOut(reason, int(wrong.sum()), first))
            self.keep &= ~wrong

    def drop_impossible(self, lat: Floats, lon: Floats) -> None:
        """Leave out what is no position on the globe, and (0, 0)."""
        self.drop(~(np.isfinite(lat) & np.isfinite(lon)), NOT_A_NUMBER)
        self.drop(np.abs(lat) > 90, BEYOND_LAT)
        self.drop(np.abs(lon) > 180, BEYOND_LON)
        self.drop((lat == 0) & (lon == 0), ZERO)

    def drop_repeated(self, paths: Sequence[str]) -> None:
        """Leave out the second and further rows with the same path."""
        seen: set[str] = set()
        again = np.zeros(len(paths), np.bool_)
        for number, path in enumerate(paths):
            again[number] = path in seen
            if self.keep[number]:
                seen.add(path)
        self.drop(again, "a row before names the same photo")


def check_swapped(lat: Floats, lon: Floats, where: str) -> None:
    """Refuse columns that hold each other's numbers, as far as that shows.

    It shows where latitudes are beyond 90 degrees and would do as longitudes; a set that lies within 90
    degrees of (0, 0) cannot be known by its numbers.

    Raises:
        ValueError: one in a hundred rows or more would be right the other way round.
    """
    beyond = np.abs(lat) > 90
    turned = beyond & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)
    if turned.sum() > max(SWAPPED_SHARE * len(lat), 0.5 * beyond.sum() - 0.5):
        row = int(turned.argmax())
        raise ValueError(
            f"{where}: latitude and longitude look swapped: {turned.sum()} of {len(lat)} rows have a "
            f"latitude beyond 90 degrees, such as {lat[row]:g} with longitude {lon[row]:g}; "
            "swap the names of the columns"
        )


def repeated_positions(lat: Floats, lon: Floats) -> int:
    """How many positions equal one before them to the last bit."""
    order = np.lexsort((lat, lon))
    lat, lon = lat[order], lon[order]
    return int(((lat[1:] == lat[:-1]) & (lon[1:] == lon[:-1])).sum())
