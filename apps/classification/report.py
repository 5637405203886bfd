"""The report of a classifier: how good, on what, where it errs, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from apps.engine.core.files import write_bytes
from apps.engine.evaluation.calibration import cross_fitted_ece
from apps.engine.evaluation.classification import (
    ConfusedPair,
    Predictions,
    classification_metrics,
    confusion,
    intervals,
    most_confused,
    per_class,
    reliability,
    softmax,
    wilson_interval,
)
from apps.engine.reporting import html, plots
from apps.engine.reporting.html import Column, Html, Section, paragraph, percent, tag

PAIRS = 6
MISTAKES = 12
CAM_PX = 224
FOLDS = 5

Load = Callable[[str], Image.Image]
Row = plots.Row


def write_classification_report(
    folder: Path, *, title: str, predictions: Predictions, history: Sequence[Row],
    facts: Mapping[str, str | float], thumbnail: Load, cams: Sequence[tuple[Image.Image, str]],
    ece: float | None = None,
) -> list[Path]:
    """Write ``report.html`` (self-contained) and its plots as PNG files.

    Args:
        folder: made if it is missing; files of the same names are replaced.
        title: heading of the page.
        predictions: on photos that the network was not trained on.
        history: a row an epoch with ``epoch``, ``train/loss``, ``val/loss``, ``val/top1`` and, if known,
            ``train/top1``; empty for a network without epochs.
        facts: settings and provenance, shown as they come.
        thumbnail: path of a photo -> small image; ValueError and OSError become a grey tile.
        cams: pictures of where the network looked, with captions.
        ece: calibration error to show, where the one on these photos would flatter.

    Returns:
        The files written, the page first.
    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        name: (plots.png(draw(plots.LIGHT)), plots.png(draw(plots.DARK)))
        for name, draw in _drawings(predictions, history).items()
    }
    sections = [
        _curves(history, found), _breeds(predictions), _matrix(predictions, found),
        _pairs(predictions, thumbnail), _mistakes(predictions, thumbnail), _looked(cams),
        _calibration(predictions, found), _facts(facts),
    ]
    document = html.page(
        title, _summary(predictions, ece), [s for s in sections if s is not None],
        footer="This page is one file: it needs no network and runs no script.",
    )
    files = {"report.html": document.encode("utf-8", "replace")}
    files |= {f"{name}.png": light for name, (light, _) in found.items()}
    return [write_bytes(folder / name, data) for name, data in files.items()]


Drawings = dict[str, Callable[[plots.Theme], Figure]]
Drawn = Mapping[str, tuple[bytes, bytes]]


def _drawings(p: Predictions, history: Sequence[Row]) -> Drawings:
    bins, matrix = reliability(p.confidence, p.right), confusion(p)
    drawings: Drawings = {
        "confusion": lambda theme: plots.confusion_figure(matrix, p.classes, theme),
        "reliability": lambda theme: plots.reliability_figure(bins, theme),
    }
    if history:
        drawings["curves"] = lambda theme: plots.curves(history, theme)
    return drawings


def _summary(p: Predictions, ece: float | None) -> Html:
    metrics, spread = classification_metrics(p), intervals(p)
    n, right = len(p.targets), int(p.right.sum())
    sentence = (
        f"Right on {right:,} of {n:,} photos of {len(p.classes)} classes: top-1 {percent(metrics['top1'])} "
        f"(95 % interval {percent(*spread['top1'])})"
    )
    if "top5" in metrics:
        sentence += (
            f". The right answer is among the first five for {percent(metrics['top5'])} "
            f"({percent(*spread['top5'])})"
        )
    items = [
        (name, percent(metrics[key]), percent(*spread[key]))
        for key, name in (("top1", "Top-1"), ("top5", "Top-5")) if key in metrics
    ]
    error = metrics["ece"] if ece is None else ece
    items.append(("Calibration error", percent(error), "confidence against truth"))
    items.append(("Photos", f"{n:,}", f"of {len(p.classes)} classes"))
    return html.join([paragraph(f"{sentence}.", kind="lead"), html.numbers(items)])


def _curves(history: Sequence[Row], drawn: Drawn) -> Section | None:
    if not history:
        return None
    rated = [row for row in history if row.get("val/top1") is not None]
    best = max(rated, key=lambda row: row["val/top1"], default=None)
    words = f"{len(history)} epochs."
    if best:
        words += f" Best on validation: {percent(best['val/top1'])} after epoch {best['epoch']}."
    alt = f"Loss and accuracy by epoch. {words}"
    return Section("Learning curves", html.plot(*drawn["curves"], alt, words, wide=True))


def _breeds(p: Predictions) -> Section:
    columns = [
        Column("Class"), Column("Photos", numeric=True), Column("Found", numeric=True),
        Column("Found, with 95 % interval"),
        Column("Precision", numeric=True, optional=True), Column("F1", numeric=True, optional=True),
    ]
    rows = sorted(per_class(p), key=lambda row: (row["recall"] is None, row["recall"], row["name"]))
    lines = [
        (
            row["name"], row["n"], percent(row["recall"]),
            html.bar(row["recall"], *wilson_interval(row["right"], row["n"])),
            percent(row["precision"]), percent(row["f1"]),
        )
        for row in rows
    ]
    caption = "Found: share of a class's photos that were recognised (recall), hardest first. " \
        "Precision: share of the answers with this name that were right."
    return Section("Class by class", html.table(caption, columns, lines))


def _matrix(p: Predictions, drawn: Drawn) -> Section:
    caption = "Each row is a class, each column an answer; the colour is the share of the row."
    if len(p.classes) <= plots.NUMBERED_CLASSES:
        caption += " The numbers are photos."
    alt = f"Confusion matrix of {len(p.classes)} classes; the pairs most often confused are listed below."
    return Section("Confusion matrix", html.plot(*drawn["confusion"], alt, caption, wide=True))


def _pairs(p: Predictions, load: Load) -> Section:
    pairs = most_confused(p, PAIRS)
    if not pairs:
        return Section("Most confused pairs", paragraph("No two classes were confused."))
    cards = (tag("li", _pair(p, pair, load)) for pair in pairs)
    return Section("Most confused pairs", tag("ul", *cards, class_="pairs"))


def _pair(p: Predictions, pair: ConfusedPair, load: Load) -> Html:
    a, b = p.classes[pair.first], p.classes[pair.second]
    images = []
    for actual, other in ((pair.first, pair.second), (pair.second, pair.first)):
        example = _example(p, actual, other)
        images.append(_tile(p, example, load) if example is not None else tag("figure"))
    words = [f"{count} {one} taken for {other}" for count, one, other in
             ((pair.first_as_second, a, b), (pair.second_as_first, b, a)) if count]
    return html.join([tag("div", *images, class_="two"), paragraph(", ".join(words) + ".")])


def _example(p: Predictions, actual: int, other: int) -> int | None:
    """The photo of one class that most resembles the other."""
    mine = np.flatnonzero(p.targets == actual)
    return int(mine[p.probabilities[mine, other].argmax()]) if len(mine) else None


def _tile(p: Predictions, index: int, load: Load) -> Html:
    name, said = p.classes[p.targets[index]], p.classes[p.predicted[index]]
    verdict = "recognised" if p.right[index] else f"taken for {said}"
    image = html.picture(html.thumbnail_or_grey(load, p.paths[index]), f"Photo of {name}, {verdict}")
    return tag("figure", image, tag("figcaption", tag("strong", name), f", {verdict}"))


def _mistakes(p: Predictions, load: Load) -> Section:
    wrong = np.flatnonzero(~p.right)
    worst = wrong[np.argsort(-p.confidence[wrong], kind="stable")][:MISTAKES]
    if not len(worst):
        return Section("Worst mistakes", paragraph("There is no mistake to show."))
    tiles = [_mistake(p, int(index), load) for index in worst]
    words = f"Of {len(wrong):,} wrong answers, those that the network was surest of."
    return Section("Worst mistakes", html.join([paragraph(words, kind="soft"), html.gallery(tiles)]))


def _mistake(p: Predictions, index: int, load: Load) -> tuple[Html, Html]:
    name, said = p.classes[p.targets[index]], p.classes[p.predicted[index]]
    image = html.picture(html.thumbnail_or_grey(load, p.paths[index]), f"Photo of {name}, taken for {said}")
    own = p.probabilities[index, p.targets[index]]
    caption = html.join([
        "Said: ", tag("span", said, class_="wrong"), f" {percent(float(p.confidence[index]))}", Html("<br>"),
        "Was: ", tag("strong", name), f" {percent(float(own))}", Html("<br>"),
        tag("span", Path(p.paths[index]).name, class_="file"),
    ], "")
    return image, caption


def _looked(cams: Sequence[tuple[Image.Image, str]]) -> Section | None:
    if not cams:
        return None
    words = "The brighter a region, the more it spoke for the answer (Grad-CAM)."
    tiles = [(html.picture(image, f"Heat map over a photo. {under}", CAM_PX), under) for image, under in cams]
    body = html.join([paragraph(words, kind="soft"), html.gallery(tiles, wide=True)])
    return Section("Where the network looked", body)


def _calibration(p: Predictions, drawn: Drawn) -> Section:
    raw = reliability(softmax(p.logits).max(axis=1), p.right).error
    used = reliability(p.confidence, p.right).error
    rows = [("as the network says it (temperature 1)", percent(raw))]
    if p.temperature != 1:
        rows.append((f"at the temperature used here ({p.temperature:.3g})", percent(used)))
    if len(p.targets) >= 2 * FOLDS:
        held_out = cross_fitted_ece(p.logits, p.targets, FOLDS)
        words = f"temperature fitted on other photos than it is rated on ({FOLDS} folds)"
        rows.append((words, percent(held_out)))
    caption = "Expected calibration error: mean distance of confidence and share right. 0 is perfect."
    listing = html.table(caption, [Column("Confidence"), Column("Error", numeric=True)], rows)
    words = "A dot on the dashed line: of the answers given with 80 % confidence, 80 % are right. " \
        "Below it the network is too sure, above it too modest."
    alt = f"Reliability diagram: share of right answers over confidence; calibration error {percent(used)}."
    return Section("Calibration", html.join([html.plot(*drawn["reliability"], alt, words), listing]))


def _facts(facts: Mapping[str, str | float]) -> Section | None:
    if not facts:
        return None
    rows = [(name, f"{value:g}" if isinstance(value, float) else value) for name, value in facts.items()]
    columns = [Column("Name"), Column("Value")]
    return Section("Settings", html.table("How this network was made.", columns, rows))
