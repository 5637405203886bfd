"""The report of a classifier: how good, on what, where it errs, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
from apps.engine.reporting import plots
from apps.engine.reporting.html import thumbnail_or_grey
from apps.engine.reporting.page import Drawings, write_page

TEMPLATE = Path(__file__).with_name("report.html")
PAIRS = 6
MISTAKES = 12
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
        predictions: on images that the network was not trained on.
        history: a row an epoch with ``epoch``, ``train/loss``, ``val/loss``, ``val/top1`` and, if known,
            ``train/top1``; empty for a network without epochs.
        facts: settings and provenance, shown as they come.
        thumbnail: path of an image -> small image; ValueError and OSError become a grey tile.
        cams: pictures of where the network looked, with captions.
        ece: calibration error to show, where the one on these images would flatter.

    Returns:
        The files written, the page first.
    Raises:
        OSError: the folder cannot be written.
    """
    p, metrics = predictions, classification_metrics(predictions)
    rated = [row for row in history if row.get("val/top1") is not None]
    return write_page(
        folder, TEMPLATE, _drawings(p, history), title=title, p=p, metrics=metrics, spread=intervals(p),
        ece=metrics["ece"] if ece is None else ece, history=history, facts=facts, cams=cams, folds=FOLDS,
        best=max(rated, key=lambda row: row["val/top1"], default=None), classes=_classes(p),
        numbered=len(p.classes) <= plots.NUMBERED_CLASSES, wrong=int((~p.right).sum()),
        pairs=[_pair(p, pair, thumbnail) for pair in most_confused(p, PAIRS)],
        mistakes=_mistakes(p, thumbnail), calibration=_calibration(p),
    )


def _drawings(p: Predictions, history: Sequence[Row]) -> Drawings:
    bins, matrix = reliability(p.confidence, p.right), confusion(p)
    return {
        "confusion": lambda theme: plots.confusion_figure(matrix, p.classes, theme),
        "reliability": lambda theme: plots.reliability_figure(bins, theme),
    } | ({"curves": lambda theme: plots.curves(history, theme)} if history else {})


def _classes(p: Predictions) -> list[dict[str, Any]]:
    """The classes with their figures, hardest first, those without images last."""
    rows = sorted(per_class(p), key=lambda row: (row["recall"] is None, row["recall"], row["name"]))
    return [row | {"interval": wilson_interval(row["right"], row["n"])} for row in rows]


def _pair(p: Predictions, pair: ConfusedPair, load: Load) -> dict[str, Any]:
    a, b = p.classes[pair.first], p.classes[pair.second]
    counts = ((pair.first_as_second, a, b), (pair.second_as_first, b, a))
    return {
        "examples": [_example(p, pair.first, pair.second, load), _example(p, pair.second, pair.first, load)],
        "words": ", ".join(f"{count} {name} taken for {other}" for count, name, other in counts if count),
    }


def _example(p: Predictions, actual: int, other: int, load: Load) -> dict[str, Any] | None:
    """The image of one class that most resembles the other; None where there is no image of it."""
    rows = np.flatnonzero(p.targets == actual)
    return _shown(p, int(rows[p.probabilities[rows, other].argmax()]), load) if len(rows) else None


def _mistakes(p: Predictions, load: Load) -> list[dict[str, Any]]:
    """The wrong answers that the network was surest of."""
    wrong = np.flatnonzero(~p.right)
    worst = wrong[np.argsort(-p.confidence[wrong], kind="stable")][:MISTAKES]
    return [_shown(p, int(index), load) for index in worst]


def _shown(p: Predictions, index: int, load: Load) -> dict[str, Any]:
    """An image with its class and its answer."""
    answer = p.classes[p.predicted[index]]
    return {
        "image": thumbnail_or_grey(load, p.paths[index]), "file": Path(p.paths[index]).name,
        "name": p.classes[p.targets[index]], "answer": answer, "confidence": float(p.confidence[index]),
        "probability": float(p.probabilities[index, p.targets[index]]),
        "verdict": "recognised" if p.right[index] else f"taken for {answer}",
    }


def _calibration(p: Predictions) -> dict[str, float | None]:
    return {
        "raw": reliability(softmax(p.logits).max(axis=1), p.right).error,
        "used": reliability(p.confidence, p.right).error,
        "held_out": cross_fitted_ece(p.logits, p.targets, FOLDS) if len(p.targets) >= 2 * FOLDS else None,
    }
