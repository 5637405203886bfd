"""From all boxes of an exported detector to the objects on a photo: suppression in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Found = tuple[Floats, Floats, NDArray[np.int64]]  # boxes on the square, scores, labels


def suppressed(boxes: Floats, scores: Floats, told: Mapping[str, Any]) -> Found:
    """The best boxes of one photo, class by class; what ``heads.detections.suppressed`` gives.

    Args:
        boxes: (A, 4) pixels of the square.
        scores: (A, K), 0 to 1.
        told: ``size``, ``threshold``, ``overlap``, ``candidates`` and ``most`` of the head.

    Returns:
        Boxes (N, 4) cut to the square, scores (N,) and labels (N,), best first.
    """
    rows, labels = np.nonzero(scores > told["threshold"])
    found = scores[rows, labels]
    order = np.argsort(-found, kind="stable")[: told["candidates"]]
    cut, found, labels = boxes[rows[order]].clip(0, told["size"]), found[order], labels[order]
    kept = np.ones(len(found), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        kept[own] = _best(cut[own], told["overlap"])
    best = np.flatnonzero(kept)[: told["most"]]
    return cut[best], found[best], labels[best]


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


def described(
    found: Found, classes: Sequence[str], told: Mapping[str, Any], size: tuple[int, int], top: int
) -> list[dict[str, Any]]:
    """``{"name", "score", "box"}`` an object, best first; the box as (x1, y1, x2, y2) pixels of the photo."""
    boxes, scores, labels = found
    across = np.array([*size, *size]) / told["size"]
    shown = scores >= told["shown"]
    return [
        {"name": classes[label], "score": round(score, 4), "box": [round(x, 1) for x in box]}
        for box, score, label in zip(
            (boxes[shown] * across).tolist(), scores[shown].tolist(), labels[shown].tolist(), strict=True
        )
    ][:top]
