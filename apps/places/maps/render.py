"""Maps of an answer: a PNG, a page of its own, or GeoJSON; no tiles, no network."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from apps.engine.core.files import write_bytes, write_text
from apps.engine.reporting.html import POLICY, Html, join, tag
from apps.places.cells import s2
from apps.places.cells.files import polygon
from apps.places.cells.partition import Grid
from apps.places.cells.s2 import Floats
from apps.places.maps.style import BORDER, EDGE, EDGES, HEAT, LAND, OPACITY, SEA
from apps.places.maps.svg import svg
from apps.places.maps.view import WORLD, Shown, View, close_view, rings_of, shown_cells

SUFFIXES = (".png", ".html", ".geojson")
_STYLE = (
    "body{margin:0;padding:1.5rem;background:#f5f6f4;color:#1d2421;font:16px/1.5 system-ui,sans-serif}"
    "svg{width:100%;height:auto;border:1px solid #dde2df;display:block;margin:0 0 1rem}"
    "i{display:inline-block;width:1.2em;height:.8em;margin:0 .4em 0 1em}"
    "h1{font-size:1.3rem}table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
)


def check_map(path: Path) -> None:
    """Raise ValueError unless the file's suffix is one of :data:`SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}; a map is written as {', '.join(SUFFIXES)}")


def write_map(
    path: Path, grid: Grid, probabilities: Floats, answer: Mapping[str, Any], *, title: str = "",
    precise: bool = False,
) -> None:
    """Draw probabilities over cells, with the answer that is made of them.

    Cells that are drawn together have the sum of their probabilities; cross and table are the answer's.

    Args:
        path: the suffix tells the format: .png, .html or .geojson.
        probabilities: (K,) one for each cell of the grid, adding up to 1.
        answer: as :func:`apps.places.answers.describe` gives it: ``lat`` and ``lon`` get the cross, which is
            left out where they are None, and ``cells`` are the page's table.
        title: a line above the map, such as the photo's name.
        precise: show cells as they are; otherwise none finer than level 9, about 18 km.

    Raises:
        ValueError: another suffix, or probabilities that do not fit.
    """
    check_map(path)
    position = None if answer["lat"] is None else (float(answer["lat"]), float(answer["lon"]))
    shown = replace(shown_cells(grid, probabilities, precise=precise), position=position)
    kind = path.suffix.lower()
    if kind == ".png":
        write_bytes(path, _png(_figure(shown, title)))
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


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a title in letters that no font has is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


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
    views = [WORLD] if close is None else [WORLD, close]
    head = join([
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title or "Where was it taken?"), tag("style", Html(_STYLE)),
    ])
    body = join([tag("h1", title or "Where was it taken?"), _legend(), *(svg(shown, view) for view in views),
                 _table(cells)])
    return f'<!doctype html>\n<html lang="en"><head>\n{head}\n</head><body>\n{body}\n</body></html>\n'


def _legend() -> Html:
    """What the colours mean."""
    swatches = (
        tag("span", tag("i", style=f"background:{to_hex(HEAT(tone))}"), name) for tone, name in EDGES
    )
    return tag("p", "Of the probability: ", *swatches)


def _table(cells: Sequence[Mapping[str, Any]]) -> Html:
    """The cells that the answer names, with its probabilities."""
    rows = [
        tag("tr", tag("td", ", ".join(filter(None, (cell["city"], cell["country"])))),
            tag("td", f"{cell['probability']:.1%}", class_="n"))
        for cell in cells
    ]
    return tag("table", tag("tr", tag("th", "place"), tag("th", "probability")), *rows) if rows else Html("")
