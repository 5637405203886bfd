"""Boxes on a square to the objects on an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import ObjectScore, ObjectsPrediction, Prediction


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Boxes (N, 4) on the square, scores (N,) and labels (N,) of each image, best first; score 0 is none."""
    least = head.extra["threshold"]
    predictions: list[Prediction] = []
    for boxes, scores, labels, size in zip(*outputs, sizes, strict=True):
        shown = (scores >= least) & (scores > 0)
        places = on_image(boxes[shown], head.extra, size)
        objects = [
            ObjectScore(head.classes[label], score, (box[0], box[1], box[2], box[3]))
            for box, score, label in zip(
                places.tolist(), scores[shown].tolist(), labels[shown].tolist(), strict=True
            )
        ]
        predictions.append(ObjectsPrediction(tuple(objects[:top])))
    return predictions


def on_image(
    boxes: NDArray[np.float32], extra: Mapping[str, Any], size: tuple[int, int]
) -> NDArray[np.float64]:
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
