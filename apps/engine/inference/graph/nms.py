"""Non-maximum suppression inside a graph: whole batches, outputs of fixed size, padded with score 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

Detected = tuple[Tensor, Tensor, Tensor]  # boxes (B, D, 4), scores (B, D), labels (B, D)


def detections(
    boxes: Tensor, scores: Tensor, *, size: int, score_thresh: float, nms_thresh: float,
    topk_candidates: int, detections_per_img: int,
) -> Detected:
    """The best boxes of each image, class by class, as :func:`heads.detections.nms` chooses them.

    Args:
        boxes: (x1, y1, x2, y2) pixels.
        scores: 0 to 1.
        size: side of the image in pixels, which boxes are clipped to.
        score_thresh: least score, 0 to 1.
        nms_thresh: intersection over union from which the weaker box of a class is dropped, 0 to 1.
        topk_candidates: most box-class pairs an image that are looked at, the best ones.
        detections_per_img: most boxes of an image that are kept, D.

    Shape:
        boxes: (B, A, 4), or (B, A, K, 4) where each class has its own.
        scores: (B, A, K).
        returns: boxes (B, D, 4), scores (B, D) and labels (B, D), best first;
        zeros fill up.
    """
    pairs, classes = scores.shape[1] * scores.shape[2], scores.shape[2]
    best, at = scores.flatten(1).topk(min(topk_candidates, pairs))
    rows = torch.div(at, classes, rounding_mode="trunc")
    labels = at - rows * classes
    candidates = rows_of(boxes, rows) if boxes.ndim == 3 else rows_of(boxes.flatten(1, 2), at)
    candidates = candidates.clamp(0, size)
    best, place = survivors(
        candidates, best, labels, size=size, score_thresh=score_thresh, nms_thresh=nms_thresh,
        most=min(detections_per_img, pairs),
    )
    real = best > 0
    return rows_of(candidates, place) * real[:, :, None], best, labels.gather(1, place) * real


def survivors(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, size: int, score_thresh: float, nms_thresh: float,
    most: int,
) -> tuple[Tensor, Tensor]:
    """Scores and places of the boxes that no better box of their group covers, best first.

    Args:
        boxes: (B, N, 4) pixels, 0 to ``size``.
        scores: (B, N); those of ``score_thresh`` and below are out.
        groups: (B, N) whole numbers.
        size: side of the image in pixels.
        score_thresh: 0 or more.
        nms_thresh: intersection over union, 0 to 1.
        most: boxes an image, N at most.

    Shape:
        returns: (B, most) and (B, most); where fewer are left the scores are 0.
    """
    apart = boxes + (groups * (size + 1))[:, :, None].to(boxes.dtype)  # no two groups meet
    keep = torch.ops.mobilenet_apps.nms_mask if torch.onnx.is_in_onnx_export() else _mask
    kept: Tensor = keep(apart, scores, score_thresh, nms_thresh, most)
    best, place = (scores * kept).topk(most)
    return best, place


def rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """(B, N, C) and (B, M) -> (B, M, C)."""
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[2]))


def _mask(boxes: Tensor, scores: Tensor, score_thresh: float, nms_thresh: float, most: int) -> Tensor:
    """(B, N): 1 where a box stays, else 0; all images in one call, each moved away from the others."""
    del most  # the best are taken later; ONNX's operator wants the number
    flat, sure = boxes.double(), scores.flatten()
    step = torch.arange(boxes.shape[0], dtype=torch.float64, device=boxes.device) * (flat.amax() + 1)
    above = (sure > score_thresh).nonzero()[:, 0]
    kept = above[nms((flat + step[:, None, None]).reshape(-1, 4)[above], sure[above].double(), nms_thresh)]
    return torch.zeros_like(sure).index_fill(0, kept, 1.0).reshape(scores.shape)


nms_mask = torch.library.custom_op("mobilenet_apps::nms_mask", _mask, mutates_args=())


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, score_thresh: float, nms_thresh: float, most: int) -> Tensor:
    del boxes, score_thresh, nms_thresh, most
    return torch.empty_like(scores)


def onnx_nms_mask(boxes: Any, scores: Any, score_thresh: float, nms_thresh: float, most: int) -> Any:
    """The same mask by ONNX's NonMaxSuppression, which names the boxes that stay as (image, class, box)."""
    from onnxscript import opset18

    op: Any = opset18  # its own types know no plain values

    def numbers(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    chosen = op.NonMaxSuppression(
        boxes, op.Unsqueeze(scores, numbers(1)), numbers(most), op.Constant(value_floats=[nms_thresh]),
        op.Constant(value_floats=[score_thresh]),
    )
    where = op.Gather(chosen, numbers(0, 2), axis=1)
    count = op.Slice(op.Shape(chosen), numbers(0), numbers(1))
    ones = op.Expand(op.Constant(value_floats=[1.0]), count)
    return op.ScatterND(op.ConstantOfShape(op.Shape(scores)), where, ones)


def translations() -> dict[Any, Any]:
    """What ``torch.onnx.export`` is to write for the operator of this module."""
    return {torch.ops.mobilenet_apps.nms_mask.default: onnx_nms_mask}
