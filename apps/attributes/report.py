"""The page of attributes: figures, precision over recall, calibration, groups, the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps.attributes.evaluator import AttributeEvaluation
from apps.engine.core.metrics import Metrics
from apps.engine.evaluation.binary import average_precision
from apps.engine.evaluation.classification import reliability
from apps.engine.reporting import plots
from apps.engine.reporting.html import percent, thumbnail_or_grey
from apps.engine.reporting.labels import label
from apps.engine.reporting.page import write_page
from apps.engine.reporting.thumbnails import thumbnail

SHOWN = 12  # attributes that have a plot of their own: the rarest tell the most
WORST = 6  # mistakes shown of each attribute
ACROSS = 3


def write_report(
    folder: Path,
    evaluation: AttributeEvaluation,
    *,
    title: str,
    cross_validated: Metrics | None = None,
    facts: Mapping[str, str | float] | None = None,
) -> list[Path]:
    """``report.html``, ``precision_recall.png`` and ``reliability.png``.

    Args:
        folder: there already.
        evaluation: answers and labels.
        title: of the page.
        cross_validated: figures in place of those that the choice of thresholds flatters.
        facts: settings and provenance.

    Returns:
        The files written, the page first.
    """
    return write_page(
        folder,
        Path(__file__).with_name("report.html"),
        {
            "precision_recall": partial(_grid, evaluation, _curve),
            "reliability": partial(_grid, evaluation, _reliability),
        },
        title=title,
        evaluation=evaluation,
        figures=evaluation.metrics() | dict(cross_validated or {}),
        facts=facts,
        spread=evaluation.intervals(),
        mistakes=[_mistakes(evaluation, name) for name in evaluation.names],
    )


def _plotted(evaluation: AttributeEvaluation) -> list[str]:
    """The attributes with a plot: those with both answers, the rarest first where there are many."""
    both = []
    for name in evaluation.names:
        labels = evaluation.known(name)[1]
        if len(labels) and labels.min() < labels.max():
            both.append((labels.mean(), name))
    chosen = {name for _, name in sorted(both)[:SHOWN]}
    return [name for name in evaluation.names if name in chosen]


def _grid(evaluation: AttributeEvaluation, draw: Callable[..., None], theme: plots.Theme) -> Figure:
    names = _plotted(evaluation)
    rows = max(1, ceil(len(names) / ACROSS))
    figure = plots.blank(9, 3 * rows, theme)
    every = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    for axes in every[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(every, names, strict=False):
        scores, labels, _ = evaluation.known(name)
        draw(axes, scores, labels, theme)
        axes.set(xlim=(0, 1), ylim=(0, 1.03))
        plots.dress(axes, theme, title=label(name))
    return figure


def _curve(axes: Any, scores: Any, labels: Any, theme: plots.Theme) -> None:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    right = np.cumsum(labels[order])[last]
    precision = right / (np.flatnonzero(last) + 1)
    axes.plot(right / labels.sum(), precision, color=theme.first, linewidth=2, drawstyle="steps-pre")
    axes.axhline(labels.mean(), color=theme.soft, linestyle="--", linewidth=1.2)
    axes.set(xlabel="recall", ylabel="precision")
    result = average_precision(scores, labels)
    axes.text(0.05, 0.05, f"AP {percent(result)}", color=theme.text, fontsize=10)


def _reliability(axes: Any, scores: Any, labels: Any, theme: plots.Theme) -> None:
    bins = reliability(scores, labels == 1)
    filled = bins.count > 0
    answer, share = (part[filled] / bins.count[filled] for part in (bins.confidence, bins.right))
    axes.plot([0, 1], [0, 1], "--", color=theme.soft, linewidth=1.2)
    axes.plot(answer, share, "-o", color=theme.first, linewidth=1.5, markersize=4)
    axes.set(xlabel="probability said", ylabel="share of yes")


def _mistakes(evaluation: AttributeEvaluation, name: str) -> tuple[str, int, int, list[dict[str, Any]]]:
    """An attribute, how many of its answers are wrong, of how many, and the worst of them."""
    scores, labels, rows = evaluation.known(name)
    wrong = (scores >= evaluation.thresholds.get(name, 0.5)) != (labels == 1)
    off = np.where(wrong, abs(scores - labels), -1)
    worst = [n for n in np.argsort(-off, kind="stable")[:WORST] if wrong[n]]
    paths = [evaluation.paths[rows[n]] for n in worst]
    return name, int(wrong.sum()), len(wrong), [
        {"image": thumbnail_or_grey(thumbnail, path), "file": Path(path).name, "label": labels[n],
         "probability": float(scores[n])}
        for n, path in zip(worst, paths, strict=True)
    ]
