"""The page of attributes: figures, precision over recall, calibration, groups, the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps.attributes.evaluator import Judged, average_precision, calibration_bins
from apps.engine.core.files import write_bytes
from apps.engine.reporting import html, plots
from apps.engine.reporting.html import Column, Html, Section, percent
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
    figures, spread = judged.metrics() | dict(cross_validated or {}), judged.intervals()
    curves = [plots.png(_grid(judged, _curve, theme)) for theme in (plots.LIGHT, plots.DARK)]
    bins = [plots.png(_grid(judged, _reliability, theme)) for theme in (plots.LIGHT, plots.DARK)]
    said = "Precision over recall of each attribute; the dashed line is its prevalence, as chance has it."
    below = "Share of yes over the probability said, in 15 bins; the dashed line is what was said."
    sections = [
        Section("Attributes", _table(judged, figures, spread)),
        Section("Precision and recall", html.plot(curves[0], curves[1], f"Curves. {said}", said, wide=True)),
        Section("Calibration", html.plot(bins[0], bins[1], f"Reliability. {below}", below, wide=True)),
    ]
    if len(judged.names) > 1:
        sections.append(Section("By group", _groups(judged)))
    sections.append(Section("Worst mistakes", _mistakes(judged)))
    if facts:
        told = [Column("Fact"), Column("Value")]
        sections.append(Section("How it was made", html.table("Settings and versions.", told, facts.items())))
    between = spread.get("mean_ap")
    lead = html.join([
        html.paragraph(f"{len(judged.paths):,} photos, {len(judged.names)} attributes.", kind="lead"),
        html.numbers([
            ("mean AP", percent(figures["mean_ap"]), percent(*between) if between else ""),
            ("calibration error", percent(figures["ece"]), "mean over attributes"),
        ]),
    ])
    footer = "This page is one file: it needs no network and runs no script."
    page = html.page(title, lead, sections, footer=footer)
    files = {
        "report.html": page.encode("utf-8", "replace"), "precision_recall.png": curves[0],
        "reliability.png": bins[0],
    }
    return [write_bytes(folder / name, content) for name, content in files.items()]


def _table(judged: Judged, figures: Mapping[str, Any], spread: Mapping[str, list[float]]) -> Html:
    columns = [
        Column("Attribute"), Column("AP", numeric=True), Column("95 % interval", numeric=True, optional=True),
        Column("prevalence", numeric=True), Column("balanced at 0.5", numeric=True),
        Column("at threshold", numeric=True), Column("threshold", numeric=True, optional=True),
        Column("ECE", numeric=True, optional=True), Column("photos known", numeric=True, optional=True),
    ]
    rows = []
    for name in judged.names:
        threshold = judged.thresholds.get(name)
        rows.append((
            name, percent(figures[f"ap/{name}"]), percent(*spread[f"ap/{name}"]) if f"ap/{name}" in spread
            else "undefined", percent(figures[f"prevalence/{name}"]),
            percent(figures[f"balanced_accuracy/{name}"]),
            percent(figures.get(f"balanced_accuracy@chosen/{name}")),
            "\u2013" if threshold is None else f"{threshold:.3f}", percent(figures[f"ece/{name}"]),
            f"{len(judged.known(name)[0]):,}",
        ))
    caption = "Average precision with 95 % intervals by bootstrap over people; balanced accuracy at 0.5 " \
        "and at the threshold. A dash is undefined: all photos are yes, or all are no."
    return html.table(caption, columns, rows)


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
    figure = Figure(figsize=(9, 3 * rows), layout="constrained", facecolor=theme.page)
    every = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    for axes in every[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(every, names, strict=False):
        scores, labels, _ = judged.known(name)
        draw(axes, scores, labels, theme)
        axes.set(xlim=(0, 1), ylim=(0, 1.03))
        axes.set_title(plots.label(name), loc="left", fontsize=11, color=theme.text)
        plots.dress(axes, theme)
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
    count, said, share = calibration_bins(scores, labels)
    filled = count > 0
    axes.plot([0, 1], [0, 1], "--", color=theme.soft, linewidth=1.2)
    axes.plot(said[filled], share[filled], "-o", color=theme.first, linewidth=1.5, markersize=4)
    axes.set(xlabel="probability said", ylabel="share of yes")


def _groups(judged: Judged) -> Html:
    columns = [Column("Attribute"), Column("among"), *(
        Column(name, numeric=True)
        for name in ("photos", "errors", "false yes", "false no", "AP")
    )]
    rows = [
        (one["attribute"], f"{one['by']}: {'yes' if one['value'] else 'no'}", f"{one['n']:,}",
         percent(one["error"]), percent(one["false_positive_rate"]), percent(one["false_negative_rate"]),
         percent(one["ap"]))
        for one in judged.breakdown() if one["n"]
    ]
    caption = "Errors of each attribute, at its threshold, among the photos that have and have not another."
    return html.table(caption, columns, rows)


def _mistakes(judged: Judged) -> Html:
    parts: list[Html] = []
    for name in judged.names:
        scores, labels, rows = judged.known(name)
        wrong = (scores >= judged.thresholds.get(name, 0.5)) != (labels == 1)
        off = np.where(wrong, abs(scores - labels), -1)
        chosen = [n for n in np.argsort(-off, kind="stable")[:WORST] if wrong[n]]
        tiles = [
            (
                html.picture(
                    html.thumbnail_or_grey(thumbnail, judged.paths[rows[n]]),
                    f"{Path(judged.paths[rows[n]]).name}",
                ),
                f"{'yes' if labels[n] else 'no'}; said {percent(float(scores[n]))}",
            )
            for n in chosen
        ]
        body = html.gallery(tiles) if tiles else html.paragraph("None is wrong.")
        parts += [html.tag("h3", f"{name}: {int(wrong.sum())} of {len(wrong)} wrong"), body]
    return html.join(parts)
