"""A report of an application: one page and its plots as files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from apps.engine.core.files import made_folder, whole_set, write_bytes
from apps.engine.core.metrics import Metrics, MetricTable, written
from apps.engine.core.task import Evaluation, ReportInputs
from apps.engine.reporting import plots
from apps.engine.reporting.html import SHARED, data_uri, render

METRICS_PAGE = SHARED / "metrics.html"
Drawings = dict[str, Callable[[plots.Theme], Figure]]


def write_page(folder: Path, template: Path, drawings: Drawings, **values: Any) -> list[Path]:
    """Write ``report.html`` and each drawing as ``NAME.png``.

    Args:
        folder: made if it is missing; files of the same names are replaced.
        template: of the page; it draws a plot by ``plot(NAME, ...)``.
        drawings: figures by name, drawn once for light pages and once for dark ones.
        values: what the template names beside them.

    Returns:
        The files written, the page first.
    Raises:
        OSError: the folder cannot be written.
    """
    made_folder(folder)
    drawn = {
        name: tuple(plots.png(draw(theme)) for theme in (plots.LIGHT, plots.DARK))
        for name, draw in drawings.items()
    }
    addresses = {name: [data_uri(png, "image/png") for png in both] for name, both in drawn.items()}
    page = render(template, plots=addresses, **values)
    files = {"report.html": page.encode("utf-8", "replace")}
    files |= {f"{name}.png": light for name, (light, _) in drawn.items()}
    with whole_set():
        return [write_bytes(folder / name, content) for name, content in files.items()]


def write_metrics_page(
    folder: Path, inputs: ReportInputs[Evaluation], table: MetricTable
) -> list[Path]:
    """A page for any task: metrics with intervals, learning curves, settings; returns its files.

    Args:
        folder: made if it is missing.
        inputs: of a task.
        table: of its metrics; the primary one leads.
    """
    history, primary = inputs.history, table.primary_metric
    metrics: Metrics = {**inputs.evaluation.metrics(), **inputs.cross_validated}
    spread = inputs.evaluation.intervals()
    share = primary.unit == "fraction"
    drawings: Drawings = {
        "curves": lambda theme: plots.curves(history, theme, quantity=primary.name, percent=share)
    } if history else {}
    return write_page(
        folder, METRICS_PAGE, drawings, title=inputs.title, facts=inputs.facts, count=len(inputs.evaluation),
        primary=primary.name, best=_figure(metrics.get(primary.name)), rows=[
            (name, _figure(value), " to ".join(map(written, spread.get(name, ()))), _unit(table, name))
            for name, value in metrics.items()
        ],
    )


def _figure(value: float | None) -> str:
    """A metric as it is written, a dash where it is undefined."""
    return "\u2013" if value is None else written(value)


def _unit(table: MetricTable, name: str) -> str:
    metric = table.find(name)
    return "" if metric is None or metric.unit == "fraction" else metric.unit
