"""Boxes as answers: what detectors decode to, and how a target of boxes is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from heads.base import Numbers

# Boxes (N, 4), (x1, y1, x2, y2) pixels of the image, and labels (N,), 0 to K - 1; also {"boxes", "labels"}.
Target = tuple[Numbers, Numbers] | Mapping[str, Numbers]


@dataclass(frozen=True)
class Detections:
    """Objects on an image, best first.

    Shape:
        boxes: (N, 4), (x1, y1, x2, y2) in pixels of the image that the network saw.
        scores: (N,), 0 to 1.
        labels: (N,), 0 to K - 1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def nms(
    boxes: Tensor, scores: Tensor, *, size: int, score_thresh: float, nms_thresh: float,
    topk_candidates: int, detections_per_img: int,
) -> Detections:
    """The best boxes of an image after non-maximum suppression, class by class.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) pixels.
        scores: (N, K), 0 to 1.
        size: side of the image in pixels, which boxes are clipped to.
        score_thresh: least score, 0 to 1.
        nms_thresh: intersection over union from which the weaker box of a class is dropped, 0 to 1.
        topk_candidates: most box-class pairs that are looked at, the best ones.
        detections_per_img: most boxes that are kept.
    """
    rows, labels = torch.nonzero(scores > score_thresh, as_tuple=True)
    candidates = scores[rows, labels]
    if len(candidates) > topk_candidates:
        candidates, best = candidates.topk(topk_candidates)
        rows, labels = rows[best], labels[best]
    clipped = clip_boxes_to_image(boxes[rows], (size, size))
    kept = batched_nms(clipped, candidates, labels, nms_thresh)[:detections_per_img]
    return Detections(clipped[kept], candidates[kept], labels[kept])


def to_boxes(target: Target, device: torch.device) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and labels (N,) of a target, of tensors or lists.

    Raises:
        ValueError: a box has not four numbers, or boxes and labels differ in number.
    """
    pair = (target["boxes"], target["labels"]) if isinstance(target, Mapping) else target
    boxes = torch.as_tensor(pair[0], dtype=torch.float32, device=device)
    labels = torch.as_tensor(pair[1], dtype=torch.int64, device=device)
    if boxes.numel() == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise ValueError(
            "expected boxes (N, 4), (x1, y1, x2, y2) pixels, and labels (N,), got "
            f"{tuple(boxes.shape)} and {tuple(labels.shape)}"
        )
    return boxes, labels


def to_torchvision(targets: Sequence[Target], device: torch.device) -> list[dict[str, Tensor]]:
    """Targets in torchvision's form, where label 0 is the background."""
    pairs = [to_boxes(target, device) for target in targets]
    return [{"boxes": boxes, "labels": labels + 1} for boxes, labels in pairs]
