"""What ``check objects`` looks for: boxes that cannot be right, and such that a detector doubts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.checking.classes import similar_names
from apps.engine.data.problems import HOW, Corners, Problem, Problems, Survey, sorted_by_score
from apps.engine.inference.decode.overlap import box_iou
from datasets.base import ImageDataset
from datasets.detection.base import BoxedPhoto, DetectionDataset, Marked
from datasets.detection.faults import Tally

TINY_PX = 4.0  # shorter sides are hardly learned
SAME = 0.95  # overlap (IoU) of two boxes of a class that are one
SEEN = 0.7  # least score of a detection that is believed
APART, BESIDE, ON = 0.3, 0.6, 0.75  # overlaps: none below, displaced between, the same object above
LEAST_AP50 = 0.02  # of a detector that learned anything
DOUBTS = ("boxes_likely_missing", "boxes_likely_misplaced", "boxes_likely_wrong_class")
Box = NDArray[np.float64]


def box_problems(survey: Survey) -> Problems:
    """Problems of boxes by kind."""
    splits = {name: images for name, images in survey.splits.items() if isinstance(images, DetectionDataset)}
    results = _of_tallies([images.tally for images in splits.values()])
    for images in splits.values():
        for photo in boxed(images):
            for kind, problem in _of_photo(photo, images.classes):
                results[kind].append(problem)
    names = next(iter(splits.values())).classes if splits else ()
    results["similar_class_names"] = [Problem(text) for text in similar_names(names)]
    if "objects" in survey.weights:
        results |= _doubted(splits, survey)
    else:
        survey.unlooked.append(f"{', '.join(DOUBTS)}: {HOW}")
    return results


def boxed(images: ImageDataset) -> Iterator[BoxedPhoto]:
    """The photos of a dataset that have boxes, or may."""
    return (photo for photo in images.photos if isinstance(photo, BoxedPhoto))


def _of_tallies(tallies: Sequence[Tally]) -> Problems:
    def lines(texts: Sequence[str]) -> list[Problem]:
        return [Problem(text) for text in texts]

    return {
        "boxes_units": [problem for tally in tallies for problem in lines(tally.units())],
        "boxes_swapped": [problem for tally in tallies for problem in lines(tally.swapped)],
        "boxes_outside": [problem for tally in tallies for problem in lines(tally.outside)],
        "size_mismatch": [problem for tally in tallies for problem in lines(tally.other_size)],
        "missing_label_files": [
            Problem(f"{path} has no file of labels", (path,))
            for tally in tallies for path in tally.unlabelled
        ],
        "labels_without_image": [
            Problem(f"{path} belongs to no photo") for tally in tallies for path in tally.labels_only
        ],
        "boxes_tiny": [], "boxes_duplicate": [],
    }


def _of_photo(photo: BoxedPhoto, classes: Sequence[str]) -> Iterator[tuple[str, Problem]]:
    boxes = corners([item.box for item in photo.objects])
    shared = box_iou(boxes[:, None], boxes)
    for n, item in enumerate(photo.objects):
        name, (x1, y1, x2, y2) = classes[item.label], item.box
        if min(x2 - x1, y2 - y1) < TINY_PX:
            text = f"{photo.path}: {name} of {x2 - x1:.1f} x {y2 - y1:.1f} pixels"
            yield "boxes_tiny", Problem(text, (photo.path,), (f"{name}, tiny",), boxes=(item.box,))
        twins = [m for m in range(n) if shared[n, m] >= SAME and photo.objects[m].label == item.label]
        if twins:
            text = f"{photo.path}: {name} is marked twice at ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f})"
            yield "boxes_duplicate", Problem(text, (photo.path,), (f"{name}, twice",), boxes=(item.box,))


def corners(boxes: Sequence[Corners]) -> Box:
    """(N, 4), also of none."""
    return np.array(boxes, np.float64).reshape(-1, 4)


def _doubted(splits: Mapping[str, DetectionDataset], survey: Survey) -> Problems:
    """What a detector of other classes sees that is marked otherwise, as far as it knows the classes."""
    from apps.objects.detect import detect

    photos = {photo.path: (photo, images.classes) for images in splits.values() for photo in boxed(images)}
    results: Problems = {kind: [] for kind in DOUBTS}
    readable = [path for path, (photo, _) in photos.items() if photo.width]
    with survey.console.track("detecting objects", len(readable)) as update:
        lines = detect(readable, survey.weights["objects"], threshold=BESIDE) if readable else ()
        for done, (path, line) in enumerate(zip(readable, lines, strict=True), start=1):
            photo, classes = photos[path]
            for kind, problem in doubts(photo, classes, line.get("objects", [])):
                results[kind].append(problem)
            update(done, "photos")
    return {kind: sorted_by_score(problems) for kind, problems in results.items()}


def doubts(
    photo: BoxedPhoto, classes: Sequence[str], detected: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Problem]]:
    """What a detector's answers on a photo say of its boxes, (kind, problem) each.

    Args:
        photo: with its boxes.
        classes: of the boxes.
        detected: objects with ``name``, ``score`` and ``box``; those of names that are no classes are passed
            over.
    """
    known = {_plain(name): name for name in classes}
    seen = [item for item in detected if _plain(item["name"]) in known and item["score"] >= SEEN]
    marked = [item for item in photo.objects if not item.ignored]
    crowds = corners([item.box for item in photo.objects if item.ignored])
    shared = box_iou(corners([item["box"] for item in seen])[:, None], corners([item.box for item in marked]))
    in_crowd = _covered(corners([item["box"] for item in seen]), crowds)
    for row, item in enumerate(seen):
        name = known[_plain(item["name"])]
        best = int(shared[row].argmax()) if marked else -1
        overlap = float(shared[row, best]) if marked else 0.0
        if overlap < APART:
            if not in_crowd[row]:
                yield "boxes_likely_missing", _doubt(photo, item, None, f"{name} is not marked")
        elif overlap < BESIDE and classes[marked[best].label] == name and _is_best(shared, row, best):
            yield "boxes_likely_misplaced", _doubt(photo, item, marked[best], f"{name} lies elsewhere")
        elif overlap >= ON and classes[marked[best].label] != name and _nobody_else(
            shared[:, best], seen, classes[marked[best].label]
        ):
            given = classes[marked[best].label]
            yield "boxes_likely_wrong_class", _doubt(photo, item, marked[best], f"{given} looks like {name}")


def _doubt(photo: BoxedPhoto, item: Mapping[str, Any], marked: Marked | None, words: str) -> Problem:
    box: Corners = tuple(float(number) for number in item["box"])  # type: ignore[assignment]
    boxes = (box,) if marked is None else (box, marked.box)
    text = f"{photo.path}: {words} ({item['score']:.0%}, at {', '.join(f'{number:.0f}' for number in box)})"
    return Problem(text, (photo.path,), (f"{words} ({item['score']:.0%})",), (), float(item["score"]), boxes)


def _is_best(shared: Box, row: int, column: int) -> bool:
    """Whether no other detection fits a box better than this one."""
    return int(shared[:, column].argmax()) == row


def _nobody_else(column: Box, seen: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether no detection of a box's own class lies on it."""
    return not any(
        share >= BESIDE and _plain(item["name"]) == _plain(name)
        for share, item in zip(column, seen, strict=True)
    )


def _covered(boxes: Box, crowds: Box) -> NDArray[np.bool_]:
    """Whether half of each box lies in a crowd, which is not marked one by one."""
    if not len(crowds):
        return np.zeros(len(boxes), np.bool_)
    low = np.maximum(boxes[:, None, :2], crowds[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    result: NDArray[np.bool_] = (np.clip(high - low, 0, None).prod(axis=2).max(axis=1) / areas) >= 0.5
    return result


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()


def learned_nothing(ap50: float | None, path: Path) -> str:
    """A sentence where a detector finds next to nothing; else empty."""
    if ap50 is None or ap50 >= LEAST_AP50:
        return ""
    return (
        f"this detector finds next to nothing on {path} (AP50 {ap50:.4f}): give more --epochs, a higher "
        "--lr such as 0.002, more images, or --weights of a detector; `check objects` looks for mistakes in "
        "the boxes"
    )

