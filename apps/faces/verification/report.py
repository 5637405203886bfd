"""The page of ``evaluate faces``: figures beside cost, the ROC curve, how similar people are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps.engine.core.files import write_bytes
from apps.engine.reporting import html, plots
from apps.engine.reporting.html import Column, Html, Section, percent
from apps.faces.verification.protocol import BINS, Floats, far_name, histograms, histograms_of
from apps.faces.verification.results import Judged

CURVES = ("-", "--", ":", "-.")
BARS = 128


def write_report(folder: Path, judged: Sequence[Judged], data: Path) -> list[Path]:
    """``report.html``, ``roc.png`` and ``scores.png``.

    Args:
        folder: there already.
        judged: the models, on the same photos.
        data: the photos, for the title.

    Returns:
        The files written, the page first.
    """
    counts = [_counts(one) for one in judged]
    roc = [plots.png(_roc(judged, counts, theme)) for theme in (plots.LIGHT, plots.DARK)]
    scores = [plots.png(_scores(judged, counts, theme)) for theme in (plots.LIGHT, plots.DARK)]
    words = "Share of pairs of one person accepted, over the share of pairs of two people accepted."
    below = "Cosines of pairs of two people, and of one person; where they overlap, some are confused."
    sections = [
        Section("Figures beside cost", _figures(judged)),
        Section("ROC curve", html.plot(roc[0], roc[1], f"ROC curve. {words}", words, wide=True)),
        Section("Similarities", html.plot(scores[0], scores[1], f"Histograms. {below}", below, wide=True)),
        Section("Thresholds", _thresholds(judged)),
    ]
    first, models = judged[0], "1 model" if len(judged) == 1 else f"{len(judged)} models"
    lead = html.paragraph(
        f"{models} on {data}: {len(first.vectors):,} photos, {len(first.trial.first):,} pairs in "
        f"{len(np.unique(first.trial.folds))} folds.", kind="lead",
    )
    page = html.page(
        f"Faces: {data.name}", lead, sections,
        footer="This page is one file: it needs no network and runs no script.",
    )
    files = {"report.html": page.encode("utf-8", "replace"), "roc.png": roc[0], "scores.png": scores[0]}
    return [write_bytes(folder / name, content) for name, content in files.items()]


def _counts(one: Judged) -> tuple[Any, Any]:
    """Histograms of impostor and genuine pairs, all against all where people are known."""
    if one.trial.people is not None:
        return histograms(one.vectors, one.trial.people)
    first, second = one.vectors[one.trial.first], one.vectors[one.trial.second]
    return histograms_of(np.einsum("nd,nd->n", first, second), one.trial.same)


def _figures(judged: Sequence[Judged]) -> Html:
    """The columns of the paper's Table 14 first."""
    rates = [p.far for p in judged[0].points]
    columns = [Column("Model"), *(Column(f"TAR at FAR {far_name(far)}", numeric=True) for far in rates),
               Column("Accuracy", numeric=True), Column("EER", numeric=True), Column("Rank-1", numeric=True),
               Column("M mult-adds", numeric=True), Column("M parameters", numeric=True)]
    shared = sorted({far for one in judged for far in one.shares}, reverse=True)
    columns[len(rates) + 1 : 1 + len(rates)] = [
        Column(f"of the teacher's at {far_name(far)}", numeric=True) for far in shared
    ]
    rows = []
    for one in judged:
        tars = {p.far: p.tar for p in one.points}
        spread = one.intervals
        rows.append((
            one.name,
            *(_with(percent(tars.get(far)), spread.get(f"tar@far={far_name(far)}")) for far in rates),
            *(percent(one.shares.get(far)) for far in shared),
            f"{percent(one.pairs.accuracy)} \u00b1 {100 * one.pairs.accuracy_se:.1f}", percent(one.pairs.eer),
            percent(one.found), _millions(one.cost.get("mult_adds")), _millions(one.cost.get("parameters")),
        ))
    caption = "TAR all against all with 95 % intervals by bootstrap over people; accuracy of pairs with " \
        "its standard error over the folds."
    return html.table(caption, columns, rows)


def _with(value: str, between: Sequence[float] | None) -> str:
    return value if between is None else f"{value} ({percent(*between)})"


def _millions(count: int | None) -> str:
    return "\u2013" if count is None else f"{count / 1e6:,.2f}"


def _thresholds(judged: Sequence[Judged]) -> Html:
    rows = [
        (one.name, far_name(p.far), f"{p.threshold:.4f}", percent(p.tar))
        for one in judged for p in one.points
    ]
    columns = [Column("Model"), Column("FAR", numeric=True), Column("Least cosine", numeric=True),
               Column("TAR", numeric=True)]
    caption = "From which similarity on no larger share of pairs of two people is accepted. It holds for " \
        "faces like these, cut out like these."
    return html.table(caption, columns, rows)


def _rates(counts: tuple[Any, Any]) -> tuple[Floats, Floats]:
    """Rates of false and of true accepts at each bin's lower edge, from strict to lax."""
    false, true = (np.cumsum(one[::-1]) / max(1, one.sum()) for one in counts)
    return false, true


def _roc(judged: Sequence[Judged], counts: Sequence[tuple[Any, Any]], theme: plots.Theme) -> Figure:
    figure = Figure(figsize=(7.5, 5), layout="constrained", facecolor=theme.page)
    axes = figure.subplots()
    for number, (one, both) in enumerate(zip(judged, counts, strict=True)):
        false, true = _rates(both)
        keep = false > 0
        colour = (theme.first, theme.second)[number % 2]
        axes.plot(false[keep], true[keep], CURVES[number // 2 % len(CURVES)], color=colour, linewidth=2,
                  label=plots.label(one.name))
    axes.set(xscale="log", xlim=(None, 1), ylim=(0, 1.02), xlabel="rate of false accepts",
             ylabel="rate of true accepts")
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=10, loc="lower right")
    plots.dress(axes, theme)
    return figure


def _scores(judged: Sequence[Judged], counts: Sequence[tuple[Any, Any]], theme: plots.Theme) -> Figure:
    figure = Figure(figsize=(7.5, 2.6 * len(judged)), layout="constrained", facecolor=theme.page)
    middle = (np.arange(BARS) + 0.5) * 2 / BARS - 1
    for axes, one, both in zip(
        figure.subplots(len(judged), 1, squeeze=False, sharex=True)[:, 0], judged, counts, strict=True
    ):
        for values, colour, name in zip(both, (theme.second, theme.first), ("two people", "one person"),
                                        strict=True):
            share = values.reshape(BARS, BINS // BARS).sum(axis=1) / max(1, values.sum())
            axes.bar(middle, share, width=2 / BARS, color=colour, alpha=0.6, label=name)
        axes.set_title(plots.label(one.name), loc="left", fontsize=11, color=theme.text)
        axes.legend(frameon=False, labelcolor=theme.text, fontsize=10)
        axes.set_ylabel("share of pairs")
        plots.dress(axes, theme)
    axes.set_xlabel("cosine")
    return figure
