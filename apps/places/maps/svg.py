"""A view of the earth as SVG, small enough for a page of its own."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex

from apps.engine.reporting.html import Html, tag
from apps.places.cells import s2
from apps.places.cells.s2 import Floats
from apps.places.maps.style import BORDER, EDGE, HEAT, LAND, OPACITY, SEA
from apps.places.maps.view import Shown, View, rings_of

UNITS = 8000  # of the drawing's width: whole numbers are short, and finer than a screen


def svg(shown: Shown, view: View) -> Html:
    """Land, cells with their probability as a tooltip, borders, and a cross on the position answered."""
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
        tag("path", tag("title", f"{token}: {p:.2%}"), d=d, fill=colour, stroke=colour)
        for rings, token, p, colour in zip(
            rings_of(shown.ids.tolist(), view), s2.tokens(shown.ids), shown.probabilities.tolist(),
            map(to_hex, HEAT(shown.tones)), strict=True,
        ) if (d := "".join(way(ring, "Z") for ring in rings))
    ]
    land = "".join(way(ring, "Z") for ring in view.land())
    borders = "".join(way(line) for line in view.outlines())
    mark = "" if shown.position is None else _cross(*shown.position, view, scale)
    return tag(
        "svg", tag("rect", width=UNITS, height=height, fill=SEA), tag("path", d=land, fill=LAND),
        tag("g", *cells, opacity=str(OPACITY), stroke_width=3),
        tag("path", d=borders, fill="none", stroke=BORDER, stroke_width=5),
        tag("path", d=mark, fill="none", stroke=EDGE, stroke_width=12),
        viewBox=f"0 0 {UNITS} {height}", role="img", aria_label="map of the probabilities",
    )


def _cross(lat: float, lon: float, view: View, scale: float) -> str:
    """The path of a cross on a position."""
    lon, lat = view.spot(lat, lon)
    x, y = round((lon - view.west) * scale), round((view.north - lat) * view.stretch * scale)
    return f"M{x - 80},{y}h160M{x},{y - 80}v160"
