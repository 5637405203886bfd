"""The page of a detector: figures, precision against recall, confusion, best and worst images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.engine.reporting import plots
from apps.engine.reporting.html import thumbnail_or_grey
from apps.engine.reporting.page import Drawings, write_page
from apps.engine.reporting.plots import Row
from apps.objects.coco_metrics import FIGURES, DetectionEvaluation
from apps.objects.drawing import DETECTED, TRUE, drawn
from apps.objects.errors import SEEN, Matched, grouped
from apps.objects.evaluator import cornered
from apps.objects.plots import history_figure, recall_figure
from datasets.image_io import read_image

SHOWN, TILE_PX = 6, 480
MATRIX_CLASSES = 13  # with the others and nothing 15: then each cell carries its number


def write_objects_report(
    folder: Path, title: str, evaluation: DetectionEvaluation, facts: Mapping[str, str | float], *,
    history: Sequence[Row] = (),
) -> list[Path]:
    """``report.html`` and its plots; returns the files, the page first.

    Args:
        folder: is made if it is missing.
        title: of the page.
        evaluation: what was found beside what is there.
        facts: settings and provenance.
        history: rows of ``metrics.jsonl``; none for results without a training.
    """
    best, worst = _ranked(evaluation.matched)
    return write_page(
        folder,
        Path(__file__).with_name("report.html"),
        _drawings(evaluation, history),
        title=title,
        facts=facts,
        figures=evaluation.figures,
        spread=evaluation.spread,
        photos=len(evaluation.paths),
        seen=SEEN,
        coco=FIGURES,
        objects=int(evaluation.confusion.matrix[:-1].sum()),
        names=evaluation.confusion.names,
        classes=_classes(evaluation),
        best=_tiles(evaluation, best),
        worst=_tiles(evaluation, worst),
    )


def _drawings(evaluation: DetectionEvaluation, history: Sequence[Row]) -> Drawings:
    part = evaluation.confusion.largest(MATRIX_CLASSES)
    names = (*part.names, "nothing")
    return {
        "precision-recall": lambda theme: recall_figure(evaluation, theme),
        "confusion": lambda theme: plots.confusion_figure(part.matrix, names, theme),
    } | ({"training": lambda theme: history_figure(history, theme)} if history else {})


def _classes(evaluation: DetectionEvaluation) -> list[tuple[str, int, int, float]]:
    """(name, objects, found, average precision) of each class that has objects, the best first."""
    matrix, figures = evaluation.confusion.matrix, evaluation.figures
    rows = [
        (name, int(matrix[n].sum()), int(matrix[n, n]), figures[f"ap/{name}"])
        for n, name in enumerate(evaluation.confusion.names) if f"ap/{name}" in figures
    ]
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def _ranked(photos: Sequence[Matched]) -> tuple[list[int], list[int]]:
    """Positions of the images with the largest and with the smallest share of right boxes.

    Where shares are alike, the image with more to tell is further out. No image is in both.
    """
    ranks = []
    for place, image in enumerate(photos):
        total = sum(image.counts.values())
        if total:
            right = image.counts["right"]
            ranks.append((right / total, right, right - total, place))
    best = [row[-1] for row in sorted(ranks, reverse=True) if row[1]][:SHOWN]
    worst = [row[-1] for row in sorted(ranks, key=lambda row: (row[0], row[2]))
             if row[2] and row[-1] not in best]
    return best, worst[:SHOWN]


def _tiles(evaluation: DetectionEvaluation, places: Sequence[int]) -> list[dict[str, Any]]:
    """Photos with marks and detections drawn on them, and what is right and wrong there in words."""
    marks, detections = grouped(evaluation.truth["annotations"]), grouped(evaluation.results)
    names = {category["id"]: category["name"] for category in evaluation.truth["categories"]}
    tiles = []
    for place in places:
        image, path = evaluation.truth["images"][place], evaluation.paths[place]
        photo = thumbnail_or_grey(lambda name: read_image(name, min_side=TILE_PX), path)
        photo.thumbnail((TILE_PX, TILE_PX))
        x, y = photo.width / max(image["width"], 1), photo.height / max(image["height"], 1)
        photo = drawn(photo, _scaled(marks.get(image["id"], ()), names, x, y), TRUE, below=True)
        photo = drawn(photo, _scaled(detections.get(image["id"], ()), names, x, y), DETECTED)
        counts = evaluation.matched[place].counts
        wrong = sum(counts.values()) - counts["right"] - counts["missed"]
        words = f"{counts['right']} right, {wrong} wrong, {counts['missed']} missed"
        tiles.append({"image": photo, "side": TILE_PX, "file": Path(path).name, "words": words})
    return tiles


def _scaled(entries: Any, names: Mapping[int, str], x: float, y: float) -> list[dict[str, Any]]:
    """Marks, or detections that are sure enough, on an image shrunk by ``x`` and ``y``."""
    return [
        {
            **({"score": entry["score"]} if "score" in entry else {}), "name": names[entry["category_id"]],
            "box": [side * by for side, by in zip(cornered(entry["bbox"]), (x, y, x, y), strict=True)],
        } for entry in entries if entry.get("score", 1) >= SEEN
    ]
