"""A view of the earth as paths of an SVG, small enough for a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from apps.places.cells import s2
from apps.places.cells.s2 import Floats
from apps.places.maps.style import BORDER, EDGE, HEAT, LAND, OPACITY, SEA
from apps.places.maps.view import Shown, Spot, View, rings_of

UNITS = 8000  # of the drawing's width: whole numbers are short, and finer than a screen


def paths(shown: Shown, view: View) -> dict[str, Any]:
    """What ``map.html`` draws: land, cells with their probability, borders, a cross on the position."""
    scale = UNITS / (view.east - view.west)
    height = round((view.north - view.south) * view.stretch * scale)

    def way(points: Floats, end: str = "") -> str:
        """A path by whole steps; none where it has shrunk to a point."""
        x, y = (points[:, 0] - view.west) * scale, (view.north - points[:, 1]) * view.stretch * scale
        spots = np.rint(np.stack([x, y], axis=1)).astype(int)
        steps = np.diff(spots, axis=0)
        steps = steps[steps.any(axis=1)]
        if not len(steps):
            return ""
        return f"M{spots[0, 0]},{spots[0, 1]}l{' '.join(f'{a},{b}' for a, b in steps.tolist())}{end}"

    cells = [
        (d, colour, f"{token}: {p:.2%}")
        for rings, token, p, colour in zip(
            rings_of(shown.ids.tolist(), view), s2.tokens(shown.ids), shown.probabilities.tolist(),
            map(to_hex, HEAT(shown.tones)), strict=True,
        ) if (d := "".join(way(ring, "Z") for ring in rings))
    ]
    cross = "" if shown.position is None else _cross(*_units(*shown.position, view))
    return {
        "width": UNITS, "height": height, "sea": SEA, "ground": LAND, "opacity": OPACITY, "border": BORDER,
        "edge": EDGE, "cells": cells, "land": "".join(way(ring, "Z") for ring in view.land()),
        "borders": "".join(way(line) for line in view.outlines()), "cross": cross,
    }


def dots(spots: Sequence[Spot], view: View, *, trip: bool) -> dict[str, Any]:
    """What ``map.html`` draws of photos: circles with a name, and the line of a trip.

    Returns:
        ``{"dots": [(x, y, words), ...], "line": "x,y x,y ..."}``; the line is empty where there is none.
    """
    placed = [(*_units(spot.lat, spot.lon, view), f"{spot.name}: {spot.place}") for spot in spots]
    joined = trip and len(placed) > 1
    return {"dots": placed, "line": " ".join(f"{x},{y}" for x, y, _ in placed) if joined else ""}


def _units(lat: float, lon: float, view: View) -> tuple[int, int]:
    """A position in the drawing's units."""
    scale = UNITS / (view.east - view.west)
    lon, lat = view.spot(lat, lon)
    return round((lon - view.west) * scale), round((view.north - lat) * view.stretch * scale)


def _cross(x: int, y: int) -> str:
    """The path of a cross."""
    return f"M{x - 80},{y}h160M{x},{y - 80}v160"
