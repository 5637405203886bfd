"""The page of ``evaluate places``: how far off, how sure, and the images that went furthest astray."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from apps.engine.reporting import plots
from apps.engine.reporting.html import thumbnail_or_grey
from apps.engine.reporting.labels import label
from apps.engine.reporting.page import Drawings, write_page
from apps.engine.reporting.thumbnails import thumbnail
from apps.places.cells.s2 import Floats
from apps.places.cells.s2_shapes import areas_km2
from apps.places.geo_metrics import (
    DISTANCES_KM,
    GeoPredictions,
    area_until_truth_km2,
    geo_intervals,
    geo_metrics,
)

if TYPE_CHECKING:
    from apps.places.evaluator import PlaceEvaluation

WORST = 12
EARTH_KM2 = 510_064_471.9
Row = plots.Row


def write_places_report(
    folder: Path, title: str, geo: GeoPredictions, facts: dict[str, str | float], *,
    history: Sequence[Row] = (), answers: PlaceEvaluation | None = None,
    baselines: dict[str, GeoPredictions] | None = None,
) -> list[Path]:
    """``report.html`` and ``distances.png``; ``area.png`` with ``answers``, ``curves.png`` with ``history``.

    Args:
        folder: there already.
        title: of the page.
        geo: predicted and true positions.
        facts: settings and provenance.
        history: rows of ``metrics.jsonl``.
        answers: the probabilities behind the positions, where they are known.
        baselines: other predictions of the same images by name.

    Returns:
        The files written, the page first.
    """
    every = {"model": geo} | (baselines or {})
    drawings: Drawings = {"distances": partial(_distances, every)}
    if answers is not None:
        drawings["area"] = partial(_area, answers)
    if history:
        drawings["curves"] = partial(plots.curves, history)
    return write_page(
        folder, Path(__file__).with_name("report.html"), drawings, title=title, paths=geo.paths, facts=facts,
        median=geo_metrics(geo)["median_km"], distances_km=DISTANCES_KM[::-1], worst=_worst(geo),
        rows=[(name, geo_metrics(result), geo_intervals(result)) for name, result in every.items()],
    )


def _distances(every: dict[str, GeoPredictions], theme: plots.Theme) -> Figure:
    figure = plots.blank(7.5, 4.2, theme)
    axes = figure.subplots()
    for number, (name, geo) in enumerate(every.items()):
        km = np.sort(np.where(np.isfinite(geo.distances_km), geo.distances_km, np.inf))
        share = np.arange(1, len(km) + 1) / len(km)
        axes.step(np.maximum(km, 0.1), share, ("-", "--", ":", "-.")[number % 4], where="post", linewidth=2,
                  color=theme.first if number == 0 else theme.second, label=label(name))
    for limit in DISTANCES_KM:
        axes.axvline(limit, color=theme.line, linewidth=0.8)
    axes.set(xscale="log", xlim=(0.5, 21_000), ylim=(0, 1.02), xlabel="km off", ylabel="share of photos")
    plots.dress(axes, theme, legend="upper left")
    return figure


def _area(answers: PlaceEvaluation, theme: plots.Theme) -> Figure:
    needed: Floats = area_until_truth_km2(answers.probabilities, areas_km2(answers.grid.ids), answers.truth)
    figure = plots.blank(7.5, 3.6, theme)
    axes = figure.subplots()
    km2 = np.sort(needed)
    axes.step(km2, np.arange(1, len(km2) + 1) / len(km2), where="post", linewidth=2, color=theme.first)
    axes.set(xscale="log", xlim=(100, EARTH_KM2), ylim=(0, 1.02), xlabel="km2 searched",
             ylabel="share of photos")
    plots.dress(axes, theme)
    return figure


def _worst(geo: GeoPredictions) -> list[tuple[Image.Image, str, float]]:
    """The images furthest off: small image, name of the file, kilometres."""
    order = [i for i in np.argsort(-geo.distances_km).tolist() if np.isfinite(geo.distances_km[i])][:WORST]
    return [
        (thumbnail_or_grey(thumbnail, geo.paths[i]), Path(geo.paths[i]).name, float(geo.distances_km[i]))
        for i in order
    ]
