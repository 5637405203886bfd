"""The plots of a detector's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.engine.reporting import plots
from apps.engine.reporting.labels import label
from apps.engine.reporting.plots import Row, Theme
from apps.objects.coco_metrics import DetectionEvaluation

CLASSES_DRAWN = 6  # curves of single classes
LINES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))


def recall_figure(evaluation: DetectionEvaluation, theme: Theme) -> Figure:
    """Precision against recall: all classes at three overlaps, and the classes with most objects."""
    figure = plots.blank(9, 3.8, theme)
    left, right = figure.subplots(1, 2, sharey=True)
    colours = (theme.first, theme.second, theme.soft)
    for overlap, colour, style in zip((0.5, 0.75, 0.9), colours, LINES, strict=False):
        _curve(left, evaluation.curve(overlap), f"IoU {overlap:g}", colour, style)
    names = commonest(evaluation)[:CLASSES_DRAWN]
    for number, name in enumerate(names):
        _curve(right, evaluation.curve(0.5, name), label(name, 18), colours[number % 3], LINES[number])
    for axes, title in ((left, "All classes"), (right, "Classes with most objects, IoU 0.5")):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall")
        plots.dress(axes, theme, title=title, legend="best")
    left.set_ylabel("precision", color=theme.soft)
    return figure


def _curve(axes: Axes, values: Any, name: str, colour: Any, style: Any) -> None:
    x = np.linspace(0, 1, 101)
    axes.plot(x, values, linestyle=style, color=colour, linewidth=2, label=f"{values.mean():.2f}  {name}")


def commonest(evaluation: DetectionEvaluation) -> list[str]:
    """Names of the classes that have objects, the one with most first."""
    counts = evaluation.confusion.matrix[:-1].sum(1)
    return [evaluation.confusion.names[n] for n in np.argsort(-counts, kind="stable") if counts[n]]


def history_figure(history: Sequence[Row], theme: Theme) -> Figure:
    """Loss and its terms, and average precision, over the epochs."""
    figure = plots.blank(9, 3.4, theme)
    left, right = figure.subplots(1, 2)
    terms = [key for key in history[0] if key.startswith("train/") and key != "train/loss"]
    _lines(left, history, ("train/loss", *terms), "Loss of training", theme)
    _lines(right, history, ("val/ap50", "val/ap", "val/ap75"), "Average precision, val", theme)
    return figure


def _lines(axes: Axes, history: Sequence[Row], names: Sequence[str], title: str, theme: Theme) -> None:
    colours = (theme.first, theme.second, theme.soft, theme.text, theme.text)
    for name, colour, style in zip(names, colours, LINES, strict=False):
        points = [(row["epoch"], row[name]) for row in history if row.get(name) is not None]
        if points:
            label = name.partition("/")[2]
            axes.plot(
                *zip(*points, strict=True), linestyle=style, color=colour, linewidth=2, marker="o",
                markersize=3, label=label,
            )
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    plots.dress(axes, theme, title=title, legend="best")
