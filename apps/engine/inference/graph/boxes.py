"""An SSD in an exported model: its boxes are decoded and suppressed in the graph."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apps.engine.inference.graph.nms import Detected, detections
from heads import SSD


class DecodedSSD(nn.Module):
    """The objects of each image, from the backbone's maps.

    Args:
        head: as trained; its batch-norm is folded into a copy.

    Shape:
        returns: boxes (B, D, 4), (x1, y1, x2, y2) pixels of the input, scores (B, D) and labels (B, D), best
        first; zeros fill up.

    Source: Liu et al. 2016, "SSD", equation 2, backwards.
    """

    defaults: Tensor

    def __init__(self, head: SSD) -> None:
        super().__init__()
        self.head, self.strides = copy.deepcopy(head).eval(), head.strides
        for extra in self.head.extras:
            layers: Any = extra
            for at in (0, 3):  # convolution, batch-norm, activation; twice
                layers[at], layers[at + 1] = fuse_conv_bn_eval(layers[at], layers[at + 1]), nn.Identity()
        self.register_buffer("defaults", head.default_boxes())

    def candidates(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """All default boxes (B, A, 4), moved, in pixels, and their scores (B, A, K); nothing is left out."""
        head, output = self.head, self.head(*maps)
        offsets = output["bbox_regression"]
        defaults = self.defaults.expand(offsets.shape[0], -1, -1)
        boxes = head.coder.decode_single(offsets.reshape(-1, 4), defaults.reshape(-1, 4))
        return boxes.reshape(offsets.shape), head.scores(output["cls_logits"])

    def forward(self, *maps: Tensor) -> Detected:
        """The objects of each image, best first."""
        boxes, scores = self.candidates(*maps)
        head = self.head
        return detections(
            boxes, scores, size=head.size, score_thresh=head.score_thresh, nms_thresh=head.nms_thresh,
            topk_candidates=head.topk_candidates, detections_per_img=head.detections_per_img,
        )
