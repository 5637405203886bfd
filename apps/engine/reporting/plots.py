"""The plots of a classifier's report, each in a light and a dark dress, without pyplot's global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from apps.engine.evaluation.classification import Ints, Reliability, wilson_interval
from apps.engine.reporting.labels import label

Row = Mapping[str, Any]
PALETTE = 128  # colours of a PNG: a third of the bytes, no difference to the eye
NUMBERED_CLASSES = 15  # up to here each cell of the confusion matrix carries its number


@dataclass(frozen=True)
class Theme:
    """Colours of one dress, as CSS writes them."""

    page: str
    text: str
    soft: str
    line: str
    first: str
    second: str


LIGHT = Theme(
    page="#ffffff", text="#1d2421", soft="#5c6662", line="#dde2df", first="#0f766e", second="#b45309"
)
DARK = Theme(
    page="#1c2220", text="#e7ecea", soft="#9daaa5", line="#333c39", first="#5ec4b6", second="#f0a860"
)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file; a letter that no font has becomes a box."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    flat = Image.open(buffer).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    flat.save(small, "PNG", optimize=True)
    return small.getvalue()


def blank(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of so many inches in a dress."""
    return Figure(figsize=(width, height), layout="constrained", facecolor=theme.page)


def dress(axes: Axes, theme: Theme, *, title: str = "", legend: str = "", grid: bool = True) -> None:
    """Colours, lines, title and legend of a plot as all plots of the reports have them.

    Args:
        axes: with all that is to be drawn.
        theme: of the page.
        title: above the plot; a name may be anything, so no letter in it is mathematics.
        legend: where it stands, in matplotlib's words; "" for none, and there is none without lines.
        grid: whether there are lines behind.
    """
    axes.set_title(title, loc="left", fontsize=11, color=theme.text, parse_math=False)
    if legend and axes.get_legend_handles_labels()[0]:
        shown = axes.legend(frameon=False, labelcolor=theme.text, fontsize=10, loc=legend)
        for words in shown.get_texts():
            words.set_parse_math(False)
    axes.set_facecolor(theme.page)
    axes.tick_params(colors=theme.soft, labelsize=10, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(theme.line)
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(theme.soft)
    if grid:
        axes.grid(True, color=theme.line, linewidth=0.8)
        axes.set_axisbelow(True)


def _series(history: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
    whole = [(float(x), float(y)) for x, y in points if isfinite(y)]
    return [x for x, _ in whole], [y for _, y in whole]


def _draw_curves(axes: Axes, history: Sequence[Row], quantity: str, theme: Theme) -> None:
    lines = (("train", theme.second, "--"), ("val", theme.first, "-"))
    for split, colour, style in lines:
        x, y = _series(history, f"{split}/{quantity}")
        if x:
            name = {"train": "training", "val": "validation"}[split]
            axes.plot(x, y, style, color=colour, linewidth=2, marker="o", markersize=3.5, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("epoch")


def curves(
    history: Sequence[Row], theme: Theme = LIGHT, *, quantity: str = "top1", percent: bool = True
) -> Figure:
    """Loss and another metric of training and validation over the epochs.

    Args:
        history: rows with ``epoch`` and any of loss and the metric, as ``train/NAME`` and ``val/NAME``.
        theme: of the page.
        quantity: name of the metric.
        percent: write the metric as percent.
    """
    figure = blank(9, 3.4, theme)
    loss, other = figure.subplots(1, 2)
    title = "Top-1 accuracy" if quantity == "top1" else label(quantity)
    for axes, name, words, corner in (
        (loss, "loss", "Loss", "upper right"), (other, quantity, title, "lower right"),
    ):
        _draw_curves(axes, history, name, theme)
        dress(axes, theme, title=words, legend=corner)
    loss.set_ylim(bottom=0)
    if percent:
        other.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def confusion_figure(matrix: Ints, classes: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Confusion matrix, each row as shares of its images; legible up to some 120 classes.

    Shape:
        matrix: (K, K) images of class ``row`` that were called ``column``.
    """
    numbered = len(classes) <= NUMBERED_CLASSES
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    side = max(6.0, 2.5 + 0.55 * len(classes)) if numbered else min(18.0, 4.5 + 0.13 * len(classes))
    figure = blank(side, side * 0.92, theme)
    axes = figure.subplots()
    colours = LinearSegmentedColormap.from_list("shares", [theme.page, theme.first])
    picture = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    dress(axes, theme, grid=False)
    _name_ticks(axes, classes, side)
    if numbered:
        _number_cells(axes, matrix, shares, theme)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02, format=PercentFormatter(1.0, decimals=0))
    bar.ax.tick_params(colors=theme.soft, labelsize=9, length=0)
    bar.outline.set_visible(False)
    return figure


def _name_ticks(axes: Axes, classes: Sequence[str], side: float) -> None:
    names = [label(name) for name in classes]
    size = max(3.0, min(10.0, 56 * (side - 2.5) / len(classes)))
    angle = 45 if len(classes) <= NUMBERED_CLASSES else 90
    axes.set_xticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    for tick in axes.get_xticklabels():
        tick.set(rotation=angle, ha="right", va="top" if angle == 45 else "center", rotation_mode="anchor")
    axes.set_xlabel("what the network said")
    axes.set_ylabel("what it was")


def _number_cells(axes: Axes, matrix: Ints, shares: Any, theme: Theme) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = theme.page if shares[row, column] > 0.3 else theme.text
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=10)


def reliability_figure(bins: Reliability, theme: Theme = LIGHT) -> Figure:
    """Accuracy over confidence, bin by bin, above the number of images in each bin."""
    n = len(bins.count)
    middle, filled = (np.arange(n) + 0.5) / n, bins.count > 0
    share = bins.right[filled] / bins.count[filled]
    answer = bins.confidence[filled] / bins.count[filled]
    spread = [wilson_interval(int(r), int(c)) for r, c in zip(bins.right, bins.count, strict=True) if c]
    figure = blank(6, 5.6, theme)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=theme.soft, linewidth=1.2, label="confidence kept")
    upper.bar(middle[filled], share, width=0.92 / n, color=theme.first, alpha=0.35)
    upper.vlines(answer, *zip(*spread, strict=True), color=theme.first, linewidth=1.5)
    upper.plot(answer, share, "o", color=theme.first, markersize=5, label="this network, 95 % interval")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share right")
    upper.legend(
        frameon=False, labelcolor=theme.text, fontsize=10, ncols=2, loc="lower left", bbox_to_anchor=(0, 1)
    )
    lower.bar(middle, bins.count, width=0.92 / n, color=theme.soft)
    lower.set(xlabel="confidence", ylabel="photos")
    lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    for axes in (upper, lower):
        dress(axes, theme)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure
