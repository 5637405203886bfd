"""The page and the picture of the family's benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from apps.engine.reporting.markdown import markdown_table
from backbone.complexity import CONVENTION
from benchmarks.family_members import BASE, COMPARATOR, FAMILY, VARIANT, WIDTHS, Accuracy, family_name
from benchmarks.machine import machine
from benchmarks.tables import table

RESOLUTIONS = (224, 192, 160, 128)
HEAD = (
    "network", "ImageNet top-1, paper", "TensorFlow's checkpoint", "mult-adds", "parameters",
    f"latency over {BASE}", "CPU ms a photo", "wall ms a photo",
)
BLUE, ORANGE, GREY, RED = "#1f5fa8", "#d9730d", "#8a8f98", "#b3261e"
# Where a point's name goes, in typographic points from it, where right above would hide another.
NUDGES = {
    "Full convolutions": (-8, 4, "right"), "VGG16": (-8, -12, "right"), "AlexNet": (0, -13, "center"),
    "SqueezeNet 1.0": (0, 13, "center"), "GoogLeNet": (8, -3, "left"), "Shallow": (8, -5, "left"),
}


def page(rows: Sequence[dict[str, Any]], accuracies: Sequence[Accuracy], rounds: int) -> str:
    """The page in Markdown."""
    command = "python -m benchmarks family" + " --data DIR --weights-folder DIR" * bool(accuracies)
    return "\n".join([
        "# The family: accuracy against cost and latency", "",
        f"Made by `{command}`; do not edit: a test holds the counts against `backbone.complexity`.", "",
        "![Top-1 against mult-adds and against latency](family.png)", "", *table(HEAD, map(_row, rows)), "",
        "## Whose figures these are", "", *_sources(rounds), "", *_accuracies(accuracies),
    ])


def _row(row: dict[str, Any]) -> Sequence[str]:
    middle, low, high = row["ratio"]
    return (
        row["name"], _percent(row["paper_top1"]), _percent(row["published_top1"]),
        millions(row["mult_adds"], 2), millions(row["parameters"], 3),
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        _milliseconds(row["cpu"]), _milliseconds(row["latency"]),
    )


def millions(count: int, digits: int) -> str:
    """``568.74 M``."""
    return f"{count / 1e6:,.{digits}f} M"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _milliseconds(values: Sequence[float]) -> str:
    middle, low, high = (1000 * value for value in values)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _sources(rounds: int) -> list[str]:
    return [
        "- *ImageNet top-1, paper*: Howard et al. 2017, arXiv:1704.04861, Tables 4 to 9, as printed. It "
        "prints 8 of the 16, and no ImageNet figure for Inception V3. Not measured here.",
        "- *TensorFlow's checkpoint*: ImageNet top-1 of the published float weights, as TF-slim's "
        "mobilenet_v1.md states it. Not measured here.",
        f"- *mult-adds*, *parameters*: counted here, by `backbone.complexity`, with 1000 classes. "
        f"{CONVENTION} [tables.md](tables.md) holds them against the paper's own.",
        f"- Times: measured here on {date.today().isoformat()}, in one run. One photo, one thread, "
        "evaluation without gradients, eager, fp32, channels-last, batch-norm not folded, random weights "
        "(the time does not depend on their values; seed 0). The five other networks are torchvision's. A "
        "name of the family ends in the side of the photo in px; Inception V3 sees 299 px, the rest 224.",
        f"- Machine: {machine()}.",
        f"- {rounds} rounds, each through all networks in turn. Each figure is the median over the rounds, "
        "with the quartiles in brackets.",
        "- Other programs used the cores at the same time, so the milliseconds are this run's alone. Compare "
        f"by *latency over {BASE}*: CPU time over that of {BASE} in the same round.",
    ]


def _accuracies(accuracies: Sequence[Accuracy]) -> list[str]:
    if not accuracies:
        return []
    head = ("weights", "network", "photos", "top-1", "95 % interval", "source of the weights")
    rows = [
        (
            row.weights, row.member, str(row.n), _percent(row.top1),
            f"{_percent(row.interval[0])} to {_percent(row.interval[1])}", row.source,
        )
        for row in accuracies
    ]
    seen = accuracies[0].classes
    which = f" ({', '.join(seen)})" if len(seen) <= 12 else ""
    return [
        "## Ours, where measured", "",
        f"{accuracies[0].n:,} photos of {len(seen):,} classes{which}, not ImageNet's 50,000 photos of 1,000: "
        "top-1 among all 1,000 classes, by `python cli.py evaluate imagenet`. Few photos of few classes: not "
        "to be held against the columns above.",
        "", *markdown_table(head, rows, (2, 3, 4)), "",
    ]


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The picture: top-1 against mult-adds, and against latency."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, rows, lambda row: row["mult_adds"] / 1e6)
    _panel(right, rows, lambda row: row["ratio"][0])
    left.set_xlabel("mult-adds of one photo, millions")
    right.set_xlabel(f"latency of one photo over that of {BASE} (CPU time, one thread)")
    left.set_ylabel("ImageNet top-1, % (stated by others, not measured here)")
    left.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _panel(axes: Any, rows: Sequence[dict[str, Any]], across: Callable[[dict[str, Any]], float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    named = {row["name"]: row for row in rows}
    for width in WIDTHS:
        line = [named[family_name(width, side)] for side in RESOLUTIONS]
        axes.plot(
            [across(item) for item in line],
            [100 * item["published_top1"] for item in line],
            "o-",
            color=GREY,
            markerfacecolor="white",
            markersize=5,
            linewidth=1,
            label="TensorFlow's checkpoints: a line a width" if width == 1.0 else None,
        )
        end, offset = (line[0], (-5, 4)) if width == 1.0 else (line[-1], (-7, -11))
        axes.annotate(
            f"{width}", (across(end), 100 * end["published_top1"]), xytext=offset, color=GREY,
            textcoords="offset points", ha="right", fontsize=9,
        )
    by_width = [named[family_name(width, 224)] for width in WIDTHS]
    by_side = [named[family_name(1.0, side)] for side in RESOLUTIONS]
    others = [row for row in rows if row["paper_top1"] is not None]
    lone = [row for row in others if row["kind"] == FAMILY and row not in (*by_width, *by_side)]
    for these, style, colour, label in (
        (by_side, "s-", ORANGE, "paper: width 1.0, 224 to 128 px"),
        (by_width, "o-", BLUE, "paper: 224 px, width 1.0 to 0.25"),
        (lone, "v", BLUE, "paper: width 0.5, 160 px"),
        ([row for row in others if row["kind"] == VARIANT], "P", BLUE, "paper: its two variants"),
        ([row for row in others if row["kind"] == COMPARATOR], "D", RED, "paper: other networks"),
    ):
        points = [across(item) for item in these], [100 * item["paper_top1"] for item in these]
        axes.plot(*points, style, color=colour, label=label, markersize=7)
    for row in others:
        if row["kind"] != FAMILY:
            _name(axes, row, across(row))
    axes.set_xscale("log")
    axes.margins(x=0.09)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=20))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="major", color="#e4e6ea")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _name(axes: Any, row: dict[str, Any], x: float) -> None:
    right, up, side = NUDGES[row["name"]]
    axes.annotate(
        row["name"], (x, 100 * row["paper_top1"]), xytext=(right, up), textcoords="offset points", ha=side,
        va="center", fontsize=9, color=RED if row["kind"] == COMPARATOR else BLUE,
    )
