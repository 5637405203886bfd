"""What a map of an answer shows: cells with their probability, outlines of countries, a part of the earth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from apps.places.answers import COARSE_LEVEL, credible_cells
from apps.places.cells import s2, s2_shapes
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import MAX_LEVEL, Floats, Ids
from apps.places.cells.sphere import distance_km
from apps.places.maps.world import load_world, thinned

SHOWN_MASS, SHOWN_CELLS = 0.99, 3000
CLOSE_MASS = 0.9  # what a close view shows
WIDEST_CLOSE = 90.0  # degrees; beyond that the world's view is enough


@dataclass(frozen=True, eq=False)
class Shown:
    """The cells that a map shows, the likeliest first: the smallest area that holds 99 % of the probability.

    Args:
        ids: (M,) cells.
        probabilities: (M,) of each.
        tones: (M,) 1 for the likeliest area; less what likelier areas hold together, so that 0.5 is the edge
            of the credible area of 50 %.
        lat: (M,) latitude of each cell's middle.
        lon: (M,) its longitude.
        position: (latitude, longitude) that the answer names, for the cross; None where it abstains.
    """

    ids: Ids
    probabilities: Floats
    tones: Floats
    lat: Floats
    lon: Floats
    position: tuple[float, float] | None = None

    @property
    def middle(self) -> tuple[float, float]:
        """What a close view is around: the position answered, or else the likeliest cell."""
        return self.position or (float(self.lat[0]), float(self.lon[0]))


@dataclass(frozen=True)
class Spot:
    """Where a photo is answered to be.

    Args:
        path: of the photo.
        lat: degrees north; ``lon`` degrees east.
        confidence: of the answer, 0 to 1.
        city: nearest, None far from all; ``country`` its code.
    """

    path: str
    lat: float
    lon: float
    confidence: float
    city: str | None = None
    country: str | None = None

    @property
    def name(self) -> str:
        """The photo's name without its folders."""
        return PurePath(self.path).name

    @property
    def place(self) -> str:
        """City and country, as far as they are known."""
        return ", ".join(filter(None, (self.city, self.country)))


def shown_cells(grid: CellPartition, probabilities: Floats, *, precise: bool = False) -> Shown:
    """What to draw of an answer; unless ``precise``, cells below level 9 are gathered in theirs of level 9.

    Raises:
        ValueError: not one probability for each cell, or they do not add up to 1.
    """
    if probabilities.shape != (len(grid),) or not np.isclose(probabilities.sum(), 1, atol=1e-3):
        raise ValueError(
            f"expected {len(grid)} probabilities that add up to 1, got {probabilities.shape} with sum "
            f"{probabilities.sum():g}"
        )
    level = MAX_LEVEL if precise else COARSE_LEVEL
    wider = s2.parents(grid.ids, np.minimum(s2.levels(grid.ids), level))
    ids, where = np.unique(wider, return_inverse=True)
    mass = np.bincount(where, weights=probabilities).astype(np.float64)
    members = credible_cells(mass, s2_shapes.areas_km2(ids), SHOWN_MASS)[:SHOWN_CELLS]
    tones = 1 - np.concatenate([[0.0], np.cumsum(mass[members])[:-1]])
    order = np.argsort(-mass[members], kind="stable")
    ids = ids[members][order]
    return Shown(ids, mass[members][order], tones[order], *s2_shapes.centres_deg(ids))


@dataclass(frozen=True)
class View:
    """A part of the earth in degrees; ``west`` and ``east`` may go beyond 180 to cross the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @property
    def stretch(self) -> float:
        """How much longer a degree of latitude is to be drawn than one of longitude."""
        middle = np.radians(np.clip((self.south + self.north) / 2, -80, 80))
        return 1.0 if self.east - self.west > 180 else float(1 / np.cos(middle))

    def placed(self, line: Floats) -> list[Floats]:
        """A line (M, 2) of longitude and latitude as it appears in this view: once, not at all, or twice."""
        out = []
        for turn in (-360.0, 0.0, 360.0):
            moved = line + np.array([turn, 0.0])
            (left, low), (right, high) = moved.min(axis=0), moved.max(axis=0)
            if left < self.east and right > self.west and low < self.north and high > self.south:
                out.append(moved)
        return out

    def spot(self, lat: float, lon: float) -> tuple[float, float]:
        """Longitude and latitude of a position, the longitude as it appears in this view."""
        middle = (self.west + self.east) / 2
        return middle + ((lon - middle + 180) % 360 - 180), lat

    def outlines(self) -> list[Floats]:
        """Borders and coasts in this view, as fine as can be seen."""
        world = load_world()
        lines = [part for line in world.lines for part in self.placed(line)]
        return thinned(tuple(lines), (self.east - self.west) / 1200)

    def land(self) -> list[Floats]:
        """Closed outlines of countries in this view; a hole lies over the ring around it."""
        rings = (part for ring in load_world().rings for part in self.placed(ring))
        return thinned(tuple(rings), (self.east - self.west) / 1200)


WORLD = View(-180, -90, 180, 90)


def close_view(shown: Shown) -> View | None:
    """The part of the earth around the position answered that holds 90 % of the probability.

    Cells on the way out count the nearest first. None if that is so much of the earth that it would show
    nothing new.
    """
    away = distance_km(*shown.middle, shown.lat, shown.lon)
    order = np.argsort(away, kind="stable")
    mass = np.cumsum(shown.probabilities[order])
    members = order[: int(np.searchsorted(mass, CLOSE_MASS * mass[-1])) + 1]
    box = s2_shapes.bounds(shown.ids[members])
    middle = shown.middle[1]
    west = _beside(box.west, middle)
    east = west + (box.east - box.west) % 360
    left, right = min(float(west.min()), middle), max(float(east.max()), middle)
    south, north = float(box.south.min()), float(box.north.max())
    if right - left > WIDEST_CLOSE or north - south > WIDEST_CLOSE or max(north, -south) > 85:
        return None
    return _with_margin(left, south, right, north)


def _beside(lon: Floats, middle: float) -> Floats:
    return middle + ((lon - middle + 180) % 360 - 180)


def _with_margin(west: float, south: float, east: float, north: float) -> View:
    """A fifth on every side, and twice as wide as high."""
    lat, lon = (south + north) / 2, (west + east) / 2
    across = float(np.cos(np.radians(lat)))
    height = max((north - south), (east - west) * across / 2, 0.8) * 1.4
    width = 2 * height / across
    return View(lon - width / 2, max(lat - height / 2, -90), lon + width / 2, min(lat + height / 2, 90))


def rings_of(cells: Iterable[int], view: View) -> list[list[Floats]]:
    """For each cell its rings as they appear in a view."""
    return [[part for ring in s2_shapes.outline(cell) for part in view.placed(ring)] for cell in cells]
