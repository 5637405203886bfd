"""Outlines of countries without a network: which country a position lies in, and lines for maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apps.places.cells.s2 import Floats, checked_positions

FILE = Path(__file__).with_name("world.npz")  # made by apps/places/maps/make_world.py
_EDGE = 1e-6  # degrees
_EDGE_OF_MAP = 0.002  # degrees; the source has a ring that runs along the map's lower edge alone


@dataclass(frozen=True, eq=False)
class World:
    """Borders and coasts of Natural Earth at 1 : 50 million, true to a few kilometres.

    Args:
        lines: borders and coasts, (M, 2) longitude and latitude each, none across the antimeridian.
        rings: closed outlines of countries, islands and enclaves, (M, 2) each; one that crosses the
            antimeridian goes on beyond 180 degrees.
        countries: for each ring the country's code of ISO 3166-1; XK is Kosovo.
        boxes: (R, 4) west, south, east and north of each ring.
    """

    lines: tuple[Floats, ...]
    rings: tuple[Floats, ...]
    countries: tuple[str, ...]
    boxes: Floats

    def country_codes(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> NDArray[np.str_]:
        """Two letters for each position, empty where no country is: at sea, or within some km of a coast.

        Raises:
            ValueError: as for :func:`apps.places.cells.s2.checked_positions`.
        """
        from matplotlib.path import Path as Outline

        lat, lon = checked_positions(lat_deg, lon_deg)
        lat = np.maximum(lat, _EDGE - 90)  # the south pole is on the very edge of Antarctica's outline
        inside: dict[str, NDArray[np.bool_]] = {}
        for ring, code, (west, south, east, north) in zip(
            self.rings, self.countries, self.boxes, strict=True
        ):
            value = inside.setdefault(code, np.zeros(len(lat), np.bool_))
            for turn in (-360, 0, 360):
                x = lon + turn
                near = np.flatnonzero((x >= west) & (x <= east) & (lat >= south) & (lat <= north))
                if len(near):  # a hole is a ring within a ring
                    value[near] ^= Outline(ring).contains_points(np.stack([x[near], lat[near]], axis=1))
        codes = np.full(len(lat), "", "<U2")
        for code, value in inside.items():
            codes[value] = code
        return codes


@cache
def load_world(path: Path = FILE) -> World:
    """The outlines that come with this project."""
    with np.load(path) as file:
        data = dict(file.items())
    ends = np.cumsum(data["lengths"] - 1)
    steps = np.split(data["steps"], ends[:-1])
    arcs = [
        np.cumsum(np.concatenate([start[None], step]), axis=0) * data["scale"] + data["origin"]
        for start, step in zip(data["starts"], steps, strict=True)
    ]
    groups = np.split(data["ring_arcs"], np.cumsum(data["ring_lengths"].astype(int))[:-1])
    joined = ((_joined(arcs, group.tolist()), code)
              for group, code in zip(groups, data["ring_countries"].tolist(), strict=True))
    rings, countries = zip(*(item for item in joined if np.ptp(item[0][:, 1]) > _EDGE_OF_MAP), strict=True)
    boxes = np.array([[*ring.min(axis=0), *ring.max(axis=0)] for ring in rings])
    lines = tuple(line for arc in arcs for line in _cut(arc))
    return World(lines, rings, countries, boxes)


def _joined(arcs: list[Floats], numbers: list[int]) -> Floats:
    """A ring of arcs end to end; ~n is arc n backwards. Around a pole it is closed along the map's edge."""
    parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
    ring = np.concatenate([parts[0][:1], *(part[1:] for part in parts)])
    ring[:, 0] = np.unwrap(ring[:, 0], period=360)
    first, last = ring[0, 0], ring[-1, 0]
    if abs(last - first) > 180:
        pole = 90 * np.sign(ring[:, 1].mean())
        ring = np.concatenate([ring, [[last, pole], [first, pole], ring[0]]])
    return ring


def _cut(line: Floats) -> list[Floats]:
    """A line in parts that do not cross the antimeridian."""
    jumps = np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180) + 1
    return [part for part in np.split(line, jumps) if len(part) > 1]


def thinned(lines: tuple[Floats, ...], degrees: float) -> list[Floats]:
    """Lines with fewer points for small maps: none nearer than ``degrees`` to the one kept before it."""
    out: list[Floats] = []
    for line in lines:
        kept = [line[0]]
        for point in line[1:-1]:
            if np.abs(point - kept[-1]).max() >= degrees:
                kept.append(point)
        kept.append(line[-1])
        thin = np.array(kept)
        if np.ptp(thin, axis=0).max() >= degrees:
            out.append(thin)
    return out
