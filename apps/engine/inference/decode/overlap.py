"""How much boxes overlap, and which of them stay: in numpy, for whatever finds or compares boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 64  # boxes that are held against all others at once: as many as a number has bits
Boxes = NDArray[Any]
Ints = NDArray[np.int64]


def box_iou(some: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes, 0 to 1; 0 of such without area.

    Shape:
        some, others: (..., 4), x1, y1, x2, y2; they are broadcast against each other.
        returns: (...).
    """
    first, second = np.asarray(some, np.float64), np.asarray(others, np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = sides[..., 0].clip(0) * sides[..., 1].clip(0)
    return np.asarray(shared / np.maximum(area(first) + area(second) - shared, 1e-9))


def area(boxes: Boxes) -> Boxes:
    """(...) of boxes (..., 4), x1, y1, x2, y2."""
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def nms(
    boxes: Boxes, scores: Boxes, threshold: float, *, of_smaller: bool = False, groups: Ints | None = None
) -> Ints:
    """Places of the boxes that no better one covers, best first.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) pixels.
        scores: (N,).
        threshold: share of the union, or of the smaller box, from which the weaker one is dropped.
        of_smaller: hold the shared part against the smaller box; pixels at both ends count then.
        groups: (N,) boxes of two groups never drop each other; None takes all for one.
    """
    order = np.argsort(-scores, kind="stable")
    more = np.float32(of_smaller)
    kept: list[Ints] = []
    while len(order):
        some = boxes[order]
        areas = (some[:, 2] - some[:, 0] + more) * (some[:, 3] - some[:, 1] + more)
        best = some[:BLOCK, None]
        across = np.minimum(best[..., 2], some[:, 2]) - np.maximum(best[..., 0], some[:, 0]) + more
        down = np.minimum(best[..., 3], some[:, 3]) - np.maximum(best[..., 1], some[:, 1]) + more
        shared = across.clip(min=0) * down.clip(min=0)
        first = areas[:BLOCK, None]
        covered = shared > threshold * (np.minimum(first, areas) if of_smaller else first + areas - shared)
        if groups is not None:
            covered &= groups[order[:BLOCK], None] == groups[order]
        winners = _winners(covered[:, :BLOCK])
        kept.append(order[winners])
        order = order[BLOCK:]
        if len(order):
            order = order[~covered[winners, BLOCK:].any(axis=0)]
    return np.concatenate(kept) if kept else order


def _winners(covered: NDArray[np.bool_]) -> list[int]:
    """Of N boxes, best first, those that no winner before them covers: (N, N), by row what it covers."""
    bits = np.zeros((len(covered), BLOCK), bool)
    bits[:, : len(covered)] = covered
    rows: list[int] = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)[:, 0].tolist()
    winners, lost = [], 0  # a bit a box
    for place, row in enumerate(rows):
        if not lost >> place & 1:
            winners.append(place)
            lost |= row
    return winners
