"""Objects in an exported model: an SSD whose boxes are decoded in the graph, before any is suppressed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apps.engine.core.spec import HeadSpec
from heads import SSD


class DecodedSSD(nn.Module):
    """Where each default box went, and how sure the head is of each class there.

    Args:
        head: as trained; its batch-norm is folded into a copy.

    Shape:
        returns: ``boxes`` (B, A, 4), (x1, y1, x2, y2) in pixels of the input, not cut to it, and ``scores``
        (B, A, K), 0 to 1, without the background.

    Source: Liu et al. 2016, "SSD", equation 2, backwards.
    """

    centres: Tensor
    sides: Tensor

    def __init__(self, head: SSD) -> None:
        super().__init__()
        self.head, self.strides = copy.deepcopy(head).eval(), head.strides
        for extra in self.head.extras:
            layers: Any = extra
            for at in (0, 3):  # convolution, batch-norm, activation; twice
                layers[at], layers[at + 1] = fuse_conv_bn_eval(layers[at], layers[at + 1]), nn.Identity()
        defaults = head.default_boxes()
        self.register_buffer("centres", (defaults[:, :2] + defaults[:, 2:]) / 2)
        self.register_buffer("sides", defaults[:, 2:] - defaults[:, :2])
        self.weights, self.max_growth = head.coder.weights, head.coder.bbox_xform_clip

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """All default boxes, as they were moved, and their scores."""
        result = self.head(*maps)
        wx, wy, ww, wh = self.weights
        moves, grows = result["bbox_regression"].split(2, dim=2)
        centre = moves / moves.new_tensor([wx, wy]) * self.sides + self.centres
        half = torch.exp((grows / grows.new_tensor([ww, wh])).clamp(max=self.max_growth)) * self.sides / 2
        scores = result["cls_logits"].softmax(2)[:, :, 1:]
        return torch.cat([centre - half, centre + half], 2), scores

    def describe(self, spec: HeadSpec) -> HeadSpec:
        """All boxes and scores, and what suppression needs."""
        extra = {
            **spec.extra, "threshold": self.head.score_thresh, "overlap": self.head.nms_thresh,
            "candidates": self.head.topk_candidates, "most": self.head.detections_per_img,
        }
        return replace(spec, kind="boxes", outputs=("boxes", "scores"), extra=extra)
