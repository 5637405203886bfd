"""Runs for reading: the cells of a list and of a comparison."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from apps.engine.core.metrics import written
from apps.engine.tracking.runs import Run

METRICS_SHOWN = 3
FRAME = 3  # columns of the terminal that a column's frame takes
FIRST_TO_GO = ("photos", "seconds", "date", "px", "backbone", "app")


def list_lines(runs: Sequence[Run], width: int, sort: str | None = None) -> list[list[str]]:
    """A heading and a row a run, of as many columns as ``width`` holds.

    Args:
        runs: in the order to list them.
        width: of the terminal.
        sort: a figure that must be among those shown.
    """
    names = shown_metrics(runs, sort)
    table = {
        "run": [run.run for run in runs], "app": [run.app or "-" for run in runs],
        "state": [run.state for run in runs], "backbone": [run.backbone or "-" for run in runs],
        "px": [_or_dash(run.resolution) for run in runs], "photos": [_or_dash(run.photos) for run in runs],
        "epochs": [_epochs(run) for run in runs], "best": [_best(run) for run in runs],
    }
    table |= {name: [_figure(run.metrics.get(name)) for run in runs] for name in names}
    table |= {
        "seconds": ["-" if run.seconds is None else f"{run.seconds:.0f}" for run in runs],
        "date": [run.date[:16].replace("T", " ") for run in runs],
    }
    table = {name: [printable(cell) for cell in cells] for name, cells in table.items()}
    dropped = [*FIRST_TO_GO, *reversed(names[1:]), "best", "epochs"]
    while _wide(table, width) > width and dropped:
        table.pop(dropped.pop(0), None)
    return [list(table), *map(list, zip(*table.values(), strict=True))]


def shown_metrics(runs: Sequence[Run], sort: str | None = None) -> list[str]:
    """The figures that most runs have, in the order in which the runs name them; the sorted one first."""
    counts = Counter(name for run in runs for name in run.metrics)
    names = [name for name, _ in counts.most_common()]
    wanted = (sort or "").removeprefix("val/")
    if wanted in counts:
        names = [wanted, *(name for name in names if name != wanted)]
    return names[:METRICS_SHOWN]


def notes(runs: Sequence[Run]) -> list[str]:
    """A line on each run that needs a word: what is damaged, whose process, what cannot be resumed."""
    return [printable(f"{run.run}: {run.state}: {run.note}") for run in runs if run.note]


def comparison_lines(values: dict[str, Any]) -> list[list[list[str]]]:
    """The tables of a comparison: settings that differ, and figures with what chance allows."""
    names = [printable(run["run"]) for run in values["runs"]]
    settings = [[name, *(_or_dash(v) for v in row)] for name, row in values["settings"].items()]
    figures = []
    for name, metric in values["metrics"].items():
        cells = [_figure(metric["values"][0])]
        for at in range(1, len(names)):
            cells.append(_against(metric, at))
        figures.append([name, *cells])
    tables = [[["setting", *names], *settings]] if settings else []
    return [*tables, [["metric", *names], *figures]]


def _against(results: dict[str, Any], at: int) -> str:
    """``0.874 (+0.021, better)``."""
    value, difference = results["values"][at], results["differences"][at]
    if difference is None:
        return _figure(value)
    word = {None: "noise unknown", False: "within noise"}.get(results["beyond_chance"][at])
    if word is None:
        word = {True: "better", False: "worse", None: "differs"}[results["better"][at]]
    sign = "+" if difference >= 0 else ""
    return f"{_figure(value)} ({sign}{_figure(difference)}, {word})"


def is_figure(cell: str) -> bool:
    """Whether a cell is a number, or a dash in place of one."""
    return re.fullmatch(r"-|-?[\d.]+(e-?\d+)?(/[\d?]+)?", cell) is not None


def printable(text: str) -> str:
    """Text that any terminal takes: control characters and what is no UTF-8 become question marks."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(item if item.isprintable() else "?" for item in text)


def _wide(table: dict[str, list[str]], width: int) -> int:
    """Columns of the terminal that a table takes; the run's path wraps beyond a third of the width."""
    sizes = {name: max(len(name), *map(len, cells)) for name, cells in table.items()}
    sizes["run"] = min(sizes["run"], width // 3)
    return 1 + sum(FRAME + size for size in sizes.values())


def _epochs(run: Run) -> str:
    if run.epochs_done is None and run.epochs is None:
        return "-"
    return f"{_or_dash(run.epochs_done)}/{'?' if run.epochs is None else run.epochs}"


def _best(run: Run) -> str:
    best = run.best
    return "-" if best is None else f"{best['metric']} {_figure(best['value'])} at {best['epoch']}"


def _figure(value: float | None) -> str:
    return "-" if value is None else written(value)


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
