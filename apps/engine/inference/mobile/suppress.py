"""Non-maximum suppression in numpy behind files that leave it to their readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.inference.decode.overlap import nms

UNSUPPRESSED = "unsuppressed"  # in a head's ``extra``: boxes and scores of all candidates come out


def suppressed(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], extra: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """The objects of each image from all candidates, as the graph of an ONNX file gives them.

    Args:
        boxes: (x1, y1, x2, y2) pixels of the square.
        scores: 0 to 1.
        extra: of the head: ``size``, ``score_thresh``, ``nms_thresh``, ``topk_candidates`` and
            ``detections_per_img``.

    Shape:
        boxes: (B, A, 4).
        scores: (B, A, K).
        returns: boxes (B, D, 4), scores (B, D) and labels (B, D), best first; zeros fill up.
    """
    images, anchors, classes = scores.shape
    most = min(int(extra["detections_per_img"]), anchors * classes)
    shown = np.zeros((images, most, 4), np.float32)
    sure = np.zeros((images, most), np.float32)
    labels = np.zeros((images, most), np.int64)
    for image in range(images):
        flat = scores[image].ravel()
        best = np.argsort(-flat, kind="stable")[: int(extra["topk_candidates"])]
        best = best[flat[best] > extra["score_thresh"]]
        places = boxes[image][best // classes].clip(0, extra["size"])
        kept = nms(places, flat[best], float(extra["nms_thresh"]), groups=best % classes)[:most]
        shown[image, : len(kept)], sure[image, : len(kept)] = places[kept], flat[best][kept]
        labels[image, : len(kept)] = best[kept] % classes
    return shown, sure, labels
