"""The page of ``evaluate faces``: figures beside cost, the ROC curve, how similar people are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps.engine.reporting import plots
from apps.engine.reporting.html import percent
from apps.engine.reporting.labels import label
from apps.engine.reporting.page import write_page
from apps.faces.verification.protocol import BINS, Floats, far_name, histograms, histograms_of
from apps.faces.verification.results import VerificationResult

CURVES = ("-", "--", ":", "-.")
BARS = 128


def write_report(folder: Path, results: Sequence[VerificationResult], data: Path) -> list[Path]:
    """``report.html``, ``roc.png`` and ``scores.png``.

    Args:
        folder: there already.
        results: the models, on the same images.
        data: the images, for the title.

    Returns:
        The files written, the page first.
    """
    counts = [_counts(model) for model in results]
    columns, rows = _figures(results)
    return write_page(
        folder, Path(__file__).with_name("report.html"),
        {"roc": partial(_roc, results, counts), "scores": partial(_scores, results, counts)},
        title=f"Faces: {data.name}", results=results, data=data, folds=len(np.unique(results[0].trial.folds)),
        columns=columns, rows=rows, thresholds=[
            (model.name, far_name(p.far), f"{p.threshold:.4f}", percent(p.tar))
            for model in results for p in model.points
        ],
    )


def _counts(result: VerificationResult) -> tuple[Any, Any]:
    """Histograms of impostor and genuine pairs, all against all where people are known."""
    if result.trial.people is not None:
        return histograms(result.vectors, result.trial.people)
    first, second = result.vectors[result.trial.first], result.vectors[result.trial.second]
    return histograms_of(np.einsum("nd,nd->n", first, second), result.trial.same)


def _figures(results: Sequence[VerificationResult]) -> tuple[list[Any], list[list[str]]]:
    """Columns and rows of the models' table, the columns of the paper's Table 14 first."""
    rates = [p.far for p in results[0].points]
    shared = sorted({far for model in results for far in model.shares}, reverse=True)
    names = [
        *(f"TAR at FAR {far_name(far)}" for far in rates),
        *(f"of the teacher's at {far_name(far)}" for far in shared),
        "Accuracy", "EER", "Rank-1", "M mult-adds", "M parameters",
    ]
    rows = []
    for model in results:
        tars, spread, cost = {p.far: p.tar for p in model.points}, model.intervals, model.cost
        rows.append([
            model.name,
            *(_with(percent(tars.get(far)), spread.get(f"tar@far={far_name(far)}")) for far in rates),
            *(percent(model.shares.get(far)) for far in shared),
            f"{percent(model.pairs.accuracy)}\u00a0\u00b1\u00a0{100 * model.pairs.accuracy_se:.1f}",
            percent(model.pairs.eer), percent(model.rank1), _millions(cost.get("mult_adds")),
            _millions(cost.get("parameters")),
        ])
    return ["Model", *((name, "number") for name in names)], rows


def _with(value: str, between: Sequence[float] | None) -> str:
    return value if between is None else f"{value} ({percent(*between)})"


def _millions(count: int | None) -> str:
    return "\u2013" if count is None else f"{count / 1e6:,.2f}"


def _rates(counts: tuple[Any, Any]) -> tuple[Floats, Floats]:
    """Rates of false and of true accepts at each bin's lower edge, from strict to lax."""
    false, true = (np.cumsum(count[::-1]) / max(1, count.sum()) for count in counts)
    return false, true


def _roc(
    results: Sequence[VerificationResult], counts: Sequence[tuple[Any, Any]], theme: plots.Theme
) -> Figure:
    figure = plots.blank(7.5, 5, theme)
    axes = figure.subplots()
    for number, (item, both) in enumerate(zip(results, counts, strict=True)):
        false, true = _rates(both)
        keep = false > 0
        colour = (theme.first, theme.second)[number % 2]
        axes.plot(false[keep], true[keep], CURVES[number // 2 % len(CURVES)], color=colour, linewidth=2,
                  label=label(item.name))
    axes.set(xscale="log", xlim=(None, 1), ylim=(0, 1.02), xlabel="rate of false accepts",
             ylabel="rate of true accepts")
    plots.dress(axes, theme, legend="lower right")
    return figure


def _scores(
    results: Sequence[VerificationResult], counts: Sequence[tuple[Any, Any]], theme: plots.Theme
) -> Figure:
    figure = plots.blank(7.5, 2.6 * len(results), theme)
    middle = (np.arange(BARS) + 0.5) * 2 / BARS - 1
    for axes, result, both in zip(
        figure.subplots(len(results), 1, squeeze=False, sharex=True)[:, 0], results, counts, strict=True
    ):
        for values, colour, name in zip(both, (theme.second, theme.first), ("two people", "one person"),
                                        strict=True):
            share = values.reshape(BARS, BINS // BARS).sum(axis=1) / max(1, values.sum())
            axes.bar(middle, share, width=2 / BARS, color=colour, alpha=0.6, label=name)
        axes.set_ylabel("share of pairs")
        plots.dress(axes, theme, title=label(result.name), legend="best")
    axes.set_xlabel("cosine")
    return figure
