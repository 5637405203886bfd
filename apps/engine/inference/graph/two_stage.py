"""Faster R-CNN in an exported model: a fixed number of proposals an image, so that all shapes are known."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

from apps.engine.inference.graph.nms import Detected, detections, rows_of, survivors
from heads.faster_rcnn import LastStage, TwoStage


class DecodedTwoStage(nn.Module):
    """Both stages of a Faster R-CNN, from the backbone's maps to the objects of each image.

    Args:
        head: as trained; its batch-norm is folded into a copy.

    Shape:
        returns: boxes (B, D, 4), (x1, y1, x2, y2) pixels of the input, scores (B, D) and labels (B, D).

    Source: Ren et al. 2015, "Faster R-CNN".
    """

    def __init__(self, head: TwoStage) -> None:
        super().__init__()
        self.head, self.strides, self.size = copy.deepcopy(head).eval(), head.strides, head.size
        _fold(self.head.roi.box_head)
        sides = [-(-self.size // stride) for stride in self.strides]
        levels = [torch.zeros(1, 1, side, side) for side in sides]
        images = ImageList(torch.empty(1, 3, self.size, self.size), [(self.size, self.size)])
        (anchors,) = self.head.rpn.anchor_generator(images, levels)
        per_position = self.head.rpn.anchor_generator.num_anchors_per_location()
        counts = [n * x.shape[2] * x.shape[3] for n, x in zip(per_position, levels, strict=True)]
        for number, level in enumerate(anchors.split(counts)):
            self.register_buffer(f"anchors_{number}", level)
        pool = self.head.roi.box_roi_pool
        named = {str(number): level for number, level in enumerate(levels)}
        pool(named, [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], images.image_sizes)  # finds the maps' scales
        self.scales, self.level_of = pool.scales, pool.map_levels

    def forward(self, *maps: Tensor) -> Detected:
        """The objects of each image, best first."""
        levels = self.head.levels(maps)
        proposals, real = self._proposals(levels)
        return self._objects(levels, proposals, real)

    def _proposals(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, P, 4) regions and (B, P) whether they are more than filling."""
        rpn = self.head.rpn
        most = rpn.post_nms_top_n()
        boxes, scores, numbers = [], [], []
        for number, (logits, moves) in enumerate(zip(*rpn.head(levels), strict=True)):
            flat = _by_place(logits, 1)[:, :, 0]
            best, rows = flat.topk(min(rpn.pre_nms_top_n(), flat.shape[1]))
            anchors = self.get_buffer(f"anchors_{number}")[rows]
            moved = rpn.box_coder.decode_single(
                rows_of(_by_place(moves, 4), rows).reshape(-1, 4), anchors.reshape(-1, 4)
            )
            boxes.append(moved.reshape(*rows.shape, 4).clamp(0, self.size))
            scores.append(best.sigmoid())
            numbers.append(torch.full_like(rows, number))
        all_boxes, all_scores = torch.cat(boxes, 1), torch.cat(scores, 1)
        kept, place = survivors(
            all_boxes, all_scores * _large(all_boxes, rpn.min_size), torch.cat(numbers, 1), size=self.size,
            score_thresh=rpn.score_thresh, nms_thresh=rpn.nms_thresh, most=min(most, all_scores.shape[1]),
        )
        return rows_of(all_boxes, place), kept > 0

    def _objects(self, levels: list[Tensor], proposals: Tensor, real: Tensor) -> Detected:
        """What is in the regions."""
        roi = self.head.roi
        batch, count = proposals.shape[0], proposals.shape[1]
        image = torch.arange(batch, dtype=proposals.dtype, device=proposals.device)[:, None, None]
        regions = torch.cat([image.expand(-1, count, 1), proposals], 2).reshape(-1, 5)
        logits, moves = roi.box_predictor(roi.box_head(self._pooled(levels, regions)))
        classes = logits.shape[1]
        moved = roi.box_coder.decode_single(moves, regions[:, 1:]).reshape(batch, count, classes, 4)[:, :, 1:]
        boxes = moved.clamp(0, self.size)
        scores = logits.softmax(1).reshape(batch, count, classes)[:, :, 1:]
        return detections(
            boxes, scores * real[:, :, None] * _large(boxes, 1e-2), size=self.size,
            score_thresh=roi.score_thresh, nms_thresh=roi.nms_thresh, topk_candidates=count * (classes - 1),
            detections_per_img=roi.detections_per_img,
        )

    def _pooled(self, levels: list[Tensor], regions: Tensor) -> Tensor:
        """(N, C, 7, 7) of each region from the map that fits its size."""
        pool = self.head.roi.box_roi_pool
        parts = [
            roi_align(level, regions, pool.output_size, scale, pool.sampling_ratio)
            for level, scale in zip(levels, self.scales, strict=True)
        ]
        result: Tensor = parts[0]
        if len(parts) > 1:
            chosen = self.level_of([regions[:, 1:]])[:, None, None, None]
            for number, part in enumerate(parts[1:], start=1):
                result = torch.where(chosen == number, part, result)
        return result


def _by_place(x: Tensor, last: int) -> Tensor:
    """(B, A x last, H, W) -> (B, H x W x A, last)."""
    batch, _, height, width = x.shape
    return x.reshape(batch, -1, last, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, last)


def _large(boxes: Tensor, least: float) -> Tensor:
    """Whether both sides of boxes have ``least`` pixels."""
    return (boxes[..., 2:] - boxes[..., :2]).amin(-1) >= least


def _fold(box_head: nn.Module) -> None:
    """Batch-norm into the convolutions before it; the other box head has none."""
    blocks: Any = box_head.blocks if isinstance(box_head, LastStage) else ()
    for block in blocks:
        block.conv_dw, block.bn1 = fuse_conv_bn_eval(block.conv_dw, block.bn1), nn.Identity()
        block.conv_pw, block.bn2 = fuse_conv_bn_eval(block.conv_pw, block.bn2), nn.Identity()
