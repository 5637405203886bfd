"""Costs for reading: the cells of a table, and Markdown made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.cost.paper_tables import TABLES
from apps.engine.reporting.markdown import markdown_table

INTRODUCTION = (
    "# What the networks cost\n",
    "Made by `python cli.py cost --table all --markdown`; do not edit, a test compares the two.\n",
    "Accuracies and the columns *paper* are those of the MobileNet paper (Howard et al. 2017, "
    "arXiv:1704.04861), as printed: none is measured here. The columns *ours* are counted on the networks "
    "as built here: MobileNetV1 by this project, the others by torchvision.\n",
)
WORDS = {"top1": "ImageNet top-1", "mean_ap": "mean AP", "ap": "mAP", "tar@far=1e-4": "accepted at FAR 1e-4"}
COSTS = ("mult_adds", "mult_adds_share", "parameters", "parameters_share")


@dataclass(frozen=True)
class Sheet:
    """A title, a heading for each column, and cells as text; ``figures`` are columns to align right."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: frozenset[int] = field(default=frozenset())
    remark: str = ""


def table_sheet(number: int, rows: Sequence[dict[str, Any]]) -> Sheet:
    """One of the paper's tables, beside ours."""
    table = TABLES[number]
    metrics = [item for item in rows[0]["paper"] if item not in COSTS]
    words = [_metric(metric, number) for metric in metrics]
    share = any("mult_adds_share" in row["paper"] for row in rows)
    heading = (
        "network" if not share else "kind of layer", *words, "mult-adds, paper", "ours", "%",
        "parameters, paper", "ours", "%", "note",
    )
    return Sheet(
        f"Table {number}: {table.title}", heading,
        tuple((row["name"], *_cells(row, metrics, share), row["note"]) for row in rows),
        frozenset(range(1, len(heading) - 1)), table.remark,
    )


def _metric(name: str, number: int) -> str:
    word = "within " + name[7:-2] + " km" if name.startswith("within_") else WORDS[name]
    if number == 10:
        word = "Stanford Dogs top-1"
    return f"{word}, paper"


def _cells(row: dict[str, Any], metrics: list[str], share: bool) -> list[str]:
    """Accuracies, then the paper's figure, ours and the difference, twice."""
    paper, ours = row["paper"], row["ours"] or {}
    cells = [f"{100 * paper[metric]:.1f} %" for metric in metrics]
    for what, digits, difference in (
        ("mult_adds", 2, row["difference_percent"]),
        ("parameters", 3, row["difference_percent_parameters"]),
    ):
        key = what + ("_share" if share else "")
        cells += [_amount(paper.get(key), share), _amount(ours.get(key), share, digits), _signed(difference)]
    return cells


def _amount(value: float | None, share: bool, digits: int | None = None) -> str:
    """A count in millions, ours with ``digits`` after the point; or a share in percent."""
    if value is None:
        return "-"
    if share:
        return f"{100 * value:.2f} %"
    return f"{value / 1e6:,.{digits}f} M" if digits else f"{value / 1e6:,.6g} M"


def _signed(difference: float | None) -> str:
    return "-" if difference is None else f"{round(difference, 1) + 0.0:+.1f}"


def kinds_sheet(row: dict[str, Any]) -> Sheet:
    """The kinds of layers of one network, dearest first, and their sum."""
    kinds = {**row["kinds"], "total": row["ours"] | {"weights": row["weights"]}}
    return Sheet(
        row["name"],
        ("kind of layer", "mult-adds", "share", "parameters", "weights", "share of weights"),
        tuple(
            (
                kind,
                f"{item['mult_adds']:,}",
                f"{100 * item.get('mult_adds_share', 1):.2f} %",
                f"{item['parameters']:,}",
                f"{item['weights']:,}",
                f"{100 * item.get('weights_share', 1):.2f} %",
            )
            for kind, item in kinds.items()
        ),
        frozenset(range(1, 6)),
        _remark(row),
    )


def _remark(row: dict[str, Any]) -> str:
    """What the paper says of this network, and what is not counted."""
    paper = row["paper"]
    text = ""
    if "mult_adds" in paper:
        text = (
            f"The paper: {_amount(paper['mult_adds'], False)} mult-adds, "
            f"{_amount(paper['parameters'], False)} parameters "
            f"({_signed(row['difference_percent'])} % and {_signed(row['difference_percent_parameters'])} %)."
        )
    note: str = row["note"]
    return " ".join(item for item in (text, note and f"Note: {note}.") if item)


def layers_sheet(row: dict[str, Any]) -> Sheet:
    """Every layer of one network, in the order in which they run."""
    return Sheet(
        "layers",
        ("layer", "kind", "output", "mult-adds", "parameters"),
        tuple(
            (
                layer["name"],
                layer["kind"],
                " x ".join(str(size) for size in layer["output"][1:]) or "not run",
                f"{layer['mult_adds']:,}",
                f"{layer['parameters']:,}",
            )
            for layer in row["layers"]
        ),
        frozenset({2, 3, 4}),
    )


def markdown(sheets: Iterable[Sheet], convention: str, introduction: Iterable[str] = ()) -> str:
    """The sheets as a page of Markdown."""
    parts = [*introduction, f"{convention}\n"]
    for sheet in sheets:
        parts += [f"## {sheet.title}\n", *([f"{sheet.remark}\n"] if sheet.remark else [])]
        parts += ["\n".join(markdown_table(sheet.heading, sheet.rows, sheet.figures)) + "\n"]
    return "\n".join(parts).rstrip("\n")
