"""Boxes as answers: what detectors decode to, and how a target of boxes is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

Target = tuple[Tensor, Tensor]  # boxes (N, 4), (x1, y1, x2, y2) pixels of the image; labels, 0 to K - 1


@dataclass(frozen=True)
class Detections:
    """Objects found on one image, best first.

    Shape:
        boxes: (N, 4), (x1, y1, x2, y2) in pixels of the image that the network saw.
        scores: (N,), 0 to 1.
        labels: (N,), 0 to K - 1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def suppressed(
    boxes: Tensor, scores: Tensor, *, size: int, threshold: float, overlap: float, candidates: int, most: int
) -> Detections:
    """The best boxes of one image after non-maximum suppression, class by class.

    Args:
        boxes: (N, 4) pixels.
        scores: (N, K), 0 to 1.
        size: side of the image in pixels, which boxes are cut to.
        threshold: least score.
        overlap: intersection over union from which the weaker box of a class goes.
        candidates: most box-class pairs that are looked at, the best ones.
        most: most boxes that are kept.
    """
    rows, labels = torch.nonzero(scores > threshold, as_tuple=True)
    found = scores[rows, labels]
    if len(found) > candidates:
        found, best = found.topk(candidates)
        rows, labels = rows[best], labels[best]
    cut = clip_boxes_to_image(boxes[rows], (size, size))
    kept = batched_nms(cut, found, labels, overlap)[:most]
    return Detections(cut[kept], found[kept], labels[kept])


def as_torchvision(targets: Sequence[Target]) -> list[dict[str, Tensor]]:
    """Targets in torchvision's form, where label 0 is the background."""
    return [{"boxes": boxes, "labels": labels + 1} for boxes, labels in targets]
