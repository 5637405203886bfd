"""Maps of an answer: a PNG, a page of its own, or GeoJSON; no tiles, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from apps.engine.core.files import write_bytes, write_text
from apps.engine.reporting import plots
from apps.engine.reporting.html import render
from apps.places.cells import s2
from apps.places.cells.files import polygon
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats
from apps.places.maps.style import BORDER, EDGE, EDGES, HEAT, LAND, OPACITY, SEA
from apps.places.maps.svg import paths
from apps.places.maps.view import WORLD, Shown, View, close_view, rings_of, shown_cells

SUFFIXES = (".png", ".html", ".geojson")


def check_map(path: Path) -> None:
    """Raise ValueError unless the file's suffix is one of :data:`SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}; a map is written as {', '.join(SUFFIXES)}")


def write_map(
    path: Path, grid: CellPartition, probabilities: Floats, answer: Mapping[str, Any], *, title: str = "",
    precise: bool = False,
) -> None:
    """Draw probabilities over cells, with the answer that is made of them.

    Cells that are drawn together have the sum of their probabilities; cross and table are the answer's.

    Args:
        path: the suffix tells the format: .png, .html or .geojson.
        probabilities: (K,) one for each cell of the grid, adding up to 1.
        answer: as :func:`apps.places.answers.describe` gives it: ``lat`` and ``lon`` get the cross, which is
            left out where they are None, and ``cells`` are the page's table.
        title: a line above the map, such as the image's name.
        precise: show cells as they are; otherwise none finer than level 9, about 18 km.

    Raises:
        ValueError: another suffix, or probabilities that do not fit.
    """
    check_map(path)
    position = None if answer["lat"] is None else (float(answer["lat"]), float(answer["lon"]))
    shown = replace(shown_cells(grid, probabilities, precise=precise), position=position)
    kind = path.suffix.lower()
    if kind == ".png":
        write_bytes(path, plots.png(_figure(shown, title)))
    elif kind == ".html":
        write_text(path, _page(shown, title, answer["cells"]))
    else:
        write_text(path, json.dumps(_geojson(shown)))


def _geojson(shown: Shown) -> dict[str, Any]:
    features = [
        {"type": "Feature", "geometry": polygon(cell), "properties": {"token": token, "probability": p}}
        for cell, token, p in zip(
            shown.ids.tolist(), s2.tokens(shown.ids), shown.probabilities.tolist(), strict=True
        )
    ]
    return {"type": "FeatureCollection", "features": features}


def _figure(shown: Shown, title: str) -> Figure:
    close = close_view(shown)
    views = [WORLD] if close is None else [WORLD, close]
    figure = Figure(figsize=(11, 5.9 * len(views) + 0.4), layout="constrained", facecolor="white")
    axes = figure.subplots(len(views), 1, squeeze=False)[:, 0]
    for ax, view in zip(axes, views, strict=True):
        _draw(ax, shown, view)
    if close is not None:
        _frame(axes[0], close)
    patches = [Patch(color=HEAT(tone), alpha=OPACITY, label=name) for tone, name in EDGES]
    axes[0].legend(handles=patches, loc="lower left", fontsize=8, frameon=False, title="of the probability",
                   title_fontsize=8)
    if title:
        figure.suptitle(title, color=EDGE, parse_math=False)
    return figure


def _draw(ax: Axes, shown: Shown, view: View) -> None:
    ax.set(xlim=(view.west, view.east), ylim=(view.south, view.north), aspect=view.stretch, facecolor=SEA)
    ax.add_collection(PolyCollection(view.land(), facecolors=LAND, edgecolors="none"), autolim=False)
    rings = rings_of(shown.ids.tolist(), view)
    pairs = [(ring, tone) for parts, tone in zip(rings, shown.tones, strict=True) for ring in parts]
    if pairs:
        colours = HEAT([tone for _, tone in pairs])
        cells = PolyCollection([ring for ring, _ in pairs], facecolors=colours, edgecolors=colours, lw=0.3)
        cells.set_alpha(OPACITY)
        ax.add_collection(cells, autolim=False)
    ax.add_collection(LineCollection(view.outlines(), colors=BORDER, linewidths=0.5), autolim=False)
    if shown.position is not None:
        lon, lat = view.spot(*shown.position)
        ax.plot(lon, lat, marker="+", markersize=11, markeredgewidth=1.6, color=EDGE)
    ax.tick_params(labelsize=8, colors="#5c6662", length=0)
    ax.xaxis.set_major_formatter(lambda x, _: _side((x + 180) % 360 - 180, "E", "W"))
    ax.yaxis.set_major_formatter(lambda y, _: _side(y, "N", "S"))
    for spine in ax.spines.values():
        spine.set_color("#dde2df")


def _frame(ax: Axes, view: View) -> None:
    """Where the close view lies, on the world's."""
    corners = np.array([
        (view.west, view.south), (view.east, view.south), (view.east, view.north), (view.west, view.north),
        (view.west, view.south),
    ])
    for part in WORLD.placed(corners):
        ax.plot(part[:, 0], part[:, 1], color=EDGE, linewidth=0.8)


def _side(value: float, positive: str, negative: str) -> str:
    text = f"{abs(value):.4g}\N{DEGREE SIGN}"
    return text if value == 0 else f"{text} {positive if value > 0 else negative}"


def _page(shown: Shown, title: str, cells: Sequence[Mapping[str, Any]]) -> str:
    close = close_view(shown)
    rows = [
        (", ".join(filter(None, (cell["city"], cell["country"]))), f"{cell['probability']:.1%}")
        for cell in cells
    ]
    return render(
        Path(__file__).with_name("map.html"), title=title or "Where was it taken?",
        drawings=[paths(shown, view) for view in ([WORLD] if close is None else [WORLD, close])],
        legend=[(to_hex(HEAT(tone)), name) for tone, name in EDGES], rows=rows,
    )
