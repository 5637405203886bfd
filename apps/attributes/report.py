"""The page of attributes: figures, precision over recall, calibration, groups, the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps.attributes.evaluator import Judged, average_precision
from apps.engine.evaluation.classification import reliability
from apps.engine.reporting import plots
from apps.engine.reporting.html import percent, thumbnail_or_grey
from apps.engine.reporting.page import write_page
from apps.engine.reporting.thumbnails import thumbnail

SHOWN = 12  # attributes that have a plot of their own: the rarest tell the most
WORST = 6  # mistakes shown of each attribute
ACROSS = 3


def write_report(
    folder: Path, judged: Judged, *, title: str, cross_validated: Mapping[str, float] | None = None,
    facts: Mapping[str, str | float] | None = None,
) -> list[Path]:
    """``report.html``, ``precision_recall.png`` and ``reliability.png``.

    Args:
        folder: there already.
        judged: answers and labels.
        title: of the page.
        cross_validated: figures in place of those that the choice of thresholds flatters.
        facts: settings and provenance.

    Returns:
        The files written, the page first.
    """
    return write_page(
        folder, Path(__file__).with_name("report.html"), {
            "precision_recall": partial(_grid, judged, _curve),
            "reliability": partial(_grid, judged, _reliability),
        },
        title=title, judged=judged, figures=judged.metrics() | dict(cross_validated or {}), facts=facts,
        spread=judged.intervals(), mistakes=[_mistakes(judged, name) for name in judged.names],
    )


def _plotted(judged: Judged) -> list[str]:
    """The attributes with a plot: those with both answers, the rarest first where there are many."""
    both = []
    for name in judged.names:
        labels = judged.known(name)[1]
        if len(labels) and labels.min() < labels.max():
            both.append((labels.mean(), name))
    chosen = {name for _, name in sorted(both)[:SHOWN]}
    return [name for name in judged.names if name in chosen]


def _grid(judged: Judged, draw: Callable[..., None], theme: plots.Theme) -> Figure:
    names = _plotted(judged)
    rows = max(1, ceil(len(names) / ACROSS))
    figure = plots.blank(9, 3 * rows, theme)
    every = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    for axes in every[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(every, names, strict=False):
        scores, labels, _ = judged.known(name)
        draw(axes, scores, labels, theme)
        axes.set(xlim=(0, 1), ylim=(0, 1.03))
        plots.dress(axes, theme, title=plots.label(name))
    return figure


def _curve(axes: Any, scores: Any, labels: Any, theme: plots.Theme) -> None:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    right = np.cumsum(labels[order])[last]
    precision = right / (np.flatnonzero(last) + 1)
    axes.plot(right / labels.sum(), precision, color=theme.first, linewidth=2, drawstyle="steps-pre")
    axes.axhline(labels.mean(), color=theme.soft, linestyle="--", linewidth=1.2)
    axes.set(xlabel="recall", ylabel="precision")
    found = average_precision(scores, labels)
    axes.text(0.05, 0.05, f"AP {percent(found)}", color=theme.text, fontsize=10)


def _reliability(axes: Any, scores: Any, labels: Any, theme: plots.Theme) -> None:
    bins = reliability(scores, labels == 1)
    filled = bins.count > 0
    said, share = (part[filled] / bins.count[filled] for part in (bins.confidence, bins.right))
    axes.plot([0, 1], [0, 1], "--", color=theme.soft, linewidth=1.2)
    axes.plot(said, share, "-o", color=theme.first, linewidth=1.5, markersize=4)
    axes.set(xlabel="probability said", ylabel="share of yes")


def _mistakes(judged: Judged, name: str) -> tuple[str, int, int, list[dict[str, Any]]]:
    """An attribute, how many of its answers are wrong, of how many, and the worst of them."""
    scores, labels, rows = judged.known(name)
    wrong = (scores >= judged.thresholds.get(name, 0.5)) != (labels == 1)
    off = np.where(wrong, abs(scores - labels), -1)
    worst = [n for n in np.argsort(-off, kind="stable")[:WORST] if wrong[n]]
    paths = [judged.paths[rows[n]] for n in worst]
    return name, int(wrong.sum()), len(wrong), [
        {"image": thumbnail_or_grey(thumbnail, path), "file": Path(path).name, "label": labels[n],
         "probability": float(scores[n])}
        for n, path in zip(worst, paths, strict=True)
    ]
