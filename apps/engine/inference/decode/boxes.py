"""Boxes on a square to the objects on an image; suppression in numpy for exported detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import ObjectScore, ObjectsPrediction, Prediction

Floats = NDArray[np.float32]
Found = tuple[Floats, Floats, NDArray[np.int64]]  # boxes on the square, scores, labels


def suppressed(boxes: Floats, scores: Floats, results: Mapping[str, Any]) -> Found:
    """The best boxes of one photo, class by class; what ``heads.detections.suppressed`` gives.

    Args:
        boxes: (A, 4) pixels of the square.
        scores: (A, K), 0 to 1.
        results: ``size``, ``threshold``, ``overlap``, ``candidates`` and ``most`` of the head.

    Returns:
        Boxes (N, 4) cut to the square, scores (N,) and labels (N,), best first.
    """
    rows, labels = np.nonzero(scores > results["threshold"])
    result = scores[rows, labels]
    order = np.argsort(-result, kind="stable")[: results["candidates"]]
    cut, result, labels = boxes[rows[order]].clip(0, results["size"]), result[order], labels[order]
    kept = np.ones(len(result), bool)
    for label in np.unique(labels):
        custom = np.flatnonzero(labels == label)
        kept[custom] = _best(cut[custom], results["overlap"])
    best = np.flatnonzero(kept)[: results["most"]]
    return cut[best], result[best], labels[best]


def _best(boxes: Floats, overlap: float) -> NDArray[np.bool_]:
    """Which of the boxes, best first, no better one that is kept covers."""
    kept = np.ones(len(boxes), bool)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for place in range(len(boxes)):
        if kept[place]:
            rest = slice(place + 1, None)
            low = np.maximum(boxes[place, :2], boxes[rest, :2])
            high = np.minimum(boxes[place, 2:], boxes[rest, 2:])
            shared = (high - low).clip(min=0).prod(axis=1)
            union = areas[place] + areas[rest] - shared
            kept[rest] &= shared <= overlap * union
    return kept


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """All boxes (B, A, 4) and scores (B, A, K) of an exported detector, before any is suppressed."""
    detections = [suppressed(boxes, scores, head.extra) for boxes, scores in zip(*outputs, strict=True)]
    return decode_detections(head, list(zip(*detections, strict=True)), sizes, top)


def decode_detections(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Boxes (N, 4) on the square, scores (N,) and labels (N,) of each image, best first."""
    least = head.extra["shown"]
    predictions: list[Prediction] = []
    for boxes, scores, labels, size in zip(*outputs, sizes, strict=True):
        shown = scores >= least
        places = on_image(boxes[shown], head.extra, size)
        objects = [
            ObjectScore(head.classes[label], score, (box[0], box[1], box[2], box[3]))
            for box, score, label in zip(
                places.tolist(), scores[shown].tolist(), labels[shown].tolist(), strict=True
            )
        ]
        predictions.append(ObjectsPrediction(tuple(objects[:top])))
    return predictions


def on_image(boxes: Floats, extra: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (N, 4) on the square in pixels of an image of (width, height), cut to it.

    Args:
        boxes: (x1, y1, x2, y2) pixels of the square.
        extra: ``size`` of the square, and ``resize``: ``squash``, or ``pad`` at the right and below.
        size: of the image.
    """
    width, height = (max(size),) * 2 if extra["resize"] == "pad" else size
    moved = boxes.astype(np.float64) * (np.array([width, height, width, height]) / extra["size"])
    cut: NDArray[np.float64] = moved.clip(0, np.array([*size, *size]))
    return cut
