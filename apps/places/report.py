"""The page of ``evaluate places``: how far off, how sure, and the photos that went furthest astray."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from apps.engine.core.files import write_bytes
from apps.engine.reporting import html, plots
from apps.engine.reporting.html import Column, Html, Section, percent
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
    from apps.places.evaluator import PlaceAnswers

WORST = 12
EARTH_KM2 = 510_064_471.9
Row = dict[str, Any]


def write_places_report(
    folder: Path, title: str, geo: GeoPredictions, facts: dict[str, str | float], *,
    history: Sequence[Row] = (), answers: PlaceAnswers | None = None,
    baselines: dict[str, GeoPredictions] | None = None,
) -> list[Path]:
    """``report.html`` and ``distances.png``, and with ``answers`` ``area.png``.

    Args:
        folder: there already.
        title: of the page.
        geo: predicted and true positions.
        facts: settings and provenance.
        history: rows of ``metrics.jsonl``.
        answers: the probabilities behind the positions, where they are known.
        baselines: other predictions of the same photos by name.

    Returns:
        The files written, the page first.
    """
    every = {"model": geo} | (baselines or {})
    drawn = {"distances.png": _dressed(lambda theme: _distances(every, theme))}
    words = "Share of photos whose answer is at most so far off."
    sections = [
        Section("How far off", Html(_table(every) + _plot(drawn["distances.png"], words))),
    ]
    if answers is not None:
        drawn["area.png"] = _dressed(lambda theme: _area(answers, theme))
        below = "Share of photos found, over how much of the earth is searched, likeliest places first."
        sections.append(Section("How much to search", _plot(drawn["area.png"], below)))
    if history:
        curves = _dressed(lambda theme: plots.curves(history, theme))
        sections.append(Section("Training", _plot(curves, "Loss by epoch.")))
    sections += [Section("Furthest astray", _worst(geo)), Section("How it was made", _facts(facts))]
    median = geo_metrics(geo)["median_km"]
    said = "no answer" if math.isnan(median) else f"half of the answers are less than {median:,.0f} km off"
    page = html.page(
        title, html.paragraph(f"{len(geo.paths):,} photos: {said}.", kind="lead"), sections,
        footer="This page is one file: it needs no network and runs no script. Photos lost their EXIF.",
    )
    files = {"report.html": page.encode("utf-8", "replace")} | {name: both[0] for name, both in drawn.items()}
    return [write_bytes(folder / name, content) for name, content in files.items()]


def _dressed(draw: Callable[[plots.Theme], Figure]) -> tuple[bytes, bytes]:
    return plots.png(draw(plots.LIGHT)), plots.png(draw(plots.DARK))


def _plot(both: tuple[bytes, bytes], words: str) -> Html:
    return html.plot(both[0], both[1], f"Curve. {words}", words, wide=True)


def _table(every: dict[str, GeoPredictions]) -> Html:
    rows = []
    for name, geo in every.items():
        found, spread = geo_metrics(geo), geo_intervals(geo)
        shares = [
            f"{percent(found[key])} ({percent(spread[key][0])} to {percent(spread[key][1])})"
            for key in (f"within_{km}km" for km in reversed(DISTANCES_KM))
        ]
        rows.append((name, *shares, f"{found['median_km']:,.0f}", f"{found['geoscore']:,.0f}"))
    columns = [Column("Answers"), *(Column(f"{km:,} km", numeric=True) for km in reversed(DISTANCES_KM)),
               Column("Median km", numeric=True), Column("Geoscore", numeric=True)]
    caption = "Shares of photos within these distances, with 95 % bootstrap intervals; Table 11 has the same."
    return html.table(caption, columns, rows)


def _distances(every: dict[str, GeoPredictions], theme: plots.Theme) -> Figure:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained", facecolor=theme.page)
    axes = figure.subplots()
    for number, (name, geo) in enumerate(every.items()):
        km = np.sort(np.where(np.isfinite(geo.distances_km), geo.distances_km, np.inf))
        share = np.arange(1, len(km) + 1) / len(km)
        axes.step(np.maximum(km, 0.1), share, ("-", "--", ":", "-.")[number % 4], where="post", linewidth=2,
                  color=theme.first if number == 0 else theme.second, label=plots.label(name))
    for limit in DISTANCES_KM:
        axes.axvline(limit, color=theme.line, linewidth=0.8)
    axes.set(xscale="log", xlim=(0.5, 21_000), ylim=(0, 1.02), xlabel="km off", ylabel="share of photos")
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=10, loc="upper left")
    plots.dress(axes, theme)
    return figure


def _area(answers: PlaceAnswers, theme: plots.Theme) -> Figure:
    needed: Floats = area_until_truth_km2(answers.probabilities, areas_km2(answers.grid.ids), answers.truth)
    figure = Figure(figsize=(7.5, 3.6), layout="constrained", facecolor=theme.page)
    axes = figure.subplots()
    km2 = np.sort(needed)
    axes.step(km2, np.arange(1, len(km2) + 1) / len(km2), where="post", linewidth=2, color=theme.first)
    axes.set(xscale="log", xlim=(100, EARTH_KM2), ylim=(0, 1.02), xlabel="km2 searched",
             ylabel="share of photos")
    plots.dress(axes, theme)
    return figure


def _worst(geo: GeoPredictions) -> Html:
    order = [i for i in np.argsort(-geo.distances_km).tolist() if np.isfinite(geo.distances_km[i])][:WORST]
    tiles = [
        (html.picture(html.thumbnail_or_grey(thumbnail, geo.paths[i]), Path(geo.paths[i]).name),
         f"{geo.distances_km[i]:,.0f} km off")
        for i in order
    ]
    return html.gallery(tiles)


def _facts(facts: dict[str, str | float]) -> Html:
    return html.table("Settings and provenance.", [Column("What"), Column("Value")], list(facts.items()))
