"""Maps of an answer: a PNG, a page of its own, GeoJSON or KML; no tiles, no network."""

from __future__ import annotations

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
from PIL import Image

from apps.engine.core.files import write_bytes, write_text
from apps.engine.reporting import plots
from apps.engine.reporting.html import render, thumbnail_or_grey
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats
from apps.places.maps.exchange import geojson, kml
from apps.places.maps.style import BORDER, EDGE, EDGES, HEAT, LAND, OPACITY, SEA
from apps.places.maps.svg import dots, paths
from apps.places.maps.view import WORLD, Shown, Spot, View, close_view, rings_of, shown_cells
from datasets.image_io import read_image

SUFFIXES = (".png", ".html", ".geojson", ".kml")
THUMBNAILS = 200  # photos that a page shows; more of them are dots alone


def check_map(path: Path) -> None:
    """Raise ValueError unless the file's suffix is one of :data:`SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}; a map is written as {', '.join(SUFFIXES)}")


def write_map(
    path: Path, grid: CellPartition, probabilities: Floats, answer: Mapping[str, Any], *, title: str = "",
    precise: bool = False, spots: Sequence[Spot] = (), trip: bool = False,
) -> None:
    """Draw probabilities over cells, with the answer that is made of them.

    Cells that are drawn together have the sum of their probabilities; cross and table are the answer's.

    Args:
        path: the suffix tells the format, one of :data:`SUFFIXES`.
        probabilities: (K,) one for each cell of the grid, adding up to 1.
        answer: as :func:`apps.places.answers.describe` gives it: ``lat`` and ``lon`` get the cross, which is
            left out where they are None, and ``cells`` are the page's table.
        title: a line above the map, such as the image's name.
        precise: show cells as they are; otherwise none finer than level 9, about 18 km.
        spots: where each of several photos is answered to be, in the order of a trip.
        trip: whether a line joins them.

    Raises:
        ValueError: another suffix, or probabilities that do not fit.
    """
    check_map(path)
    position = None if answer["lat"] is None else (float(answer["lat"]), float(answer["lon"]))
    shown = replace(shown_cells(grid, probabilities, precise=precise), position=position)
    kind = path.suffix.lower()
    if kind == ".png":
        write_bytes(path, plots.png(_figure(shown, title, spots, trip)))
    elif kind == ".html":
        write_text(path, _page(shown, title, answer["cells"], spots, trip))
    elif kind == ".kml":
        write_bytes(path, kml(shown, spots, title, trip=trip))
    else:
        write_text(path, geojson(shown, spots, trip=trip))


def _figure(shown: Shown, title: str, spots: Sequence[Spot], trip: bool) -> Figure:
    close = close_view(shown)
    views = [WORLD] if close is None else [WORLD, close]
    figure = Figure(figsize=(11, 5.9 * len(views) + 0.4), layout="constrained", facecolor="white")
    axes = figure.subplots(len(views), 1, squeeze=False)[:, 0]
    for ax, view in zip(axes, views, strict=True):
        _draw(ax, shown, view)
        _dots(ax, spots, view, trip)
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


def _dots(ax: Axes, spots: Sequence[Spot], view: View, trip: bool) -> None:
    """A dot a photo, joined in their order where they are a trip."""
    if spots:
        lon, lat = zip(*(view.spot(spot.lat, spot.lon) for spot in spots), strict=True)
        ax.plot(
            lon, lat, marker="o", markersize=4, color=EDGE, markerfacecolor="white", lw=0.8 if trip else 0,
            scalex=False, scaley=False,
        )


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


def _page(
    shown: Shown, title: str, cells: Sequence[Mapping[str, Any]], spots: Sequence[Spot], trip: bool
) -> str:
    close = close_view(shown)
    rows = [
        (", ".join(filter(None, (cell["city"], cell["country"]))), f"{cell['probability']:.1%}")
        for cell in cells
    ]
    return render(
        Path(__file__).with_name("map.html"), title=title or "Where was it taken?",
        drawings=[
            paths(shown, view) | dots(spots, view, trip=trip)
            for view in ([WORLD] if close is None else [WORLD, close])
        ],
        photos=[(_small(spot), spot) for spot in spots[:THUMBNAILS]], left_out=len(spots[THUMBNAILS:]),
        legend=[(to_hex(HEAT(tone)), name) for tone, name in EDGES], rows=rows,
    )


def _small(spot: Spot) -> Image.Image:
    """The photo, small and without what the camera wrote into it; grey where it can no longer be read."""
    return thumbnail_or_grey(lambda path: read_image(Path(path), min_side=128), spot.path)
