"""SSD with 1x1 predictors on two maps of a backbone and four that the head adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from heads.base import Head, per_map
from heads.detections import Detections, Target, nms, to_boxes

EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # 1x1, then 3x3 with stride 2
RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]]  # 4, 6, 6, 6, 6, 6 boxes a position
SCALES = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]  # of the image's side, TensorFlow's for MobileNet
NEGATIVES = 3  # for each positive box
IOU_THRESH = 0.5  # least intersection over union of a match


class SSD(Head):
    """Class scores and offsets of every default box.

    Args:
        in_channels: of the two maps, strides 16 and 32; a number for both.
        num_classes: K, without the background.
        size: side of the square image in pixels, 64 or more.
        score_thresh: least score of an answer, 0 to 1.
        nms_thresh: intersection over union from which the weaker of two boxes is dropped, 0 to 1.
        topk_candidates: box-class pairs an image that suppression looks at.
        detections_per_img: most boxes an image.

    Shape:
        features: (B, in_channels[0], S / 16, S / 16), (B, in_channels[1], S / 32, S / 32)
        returns: ``cls_logits`` (B, A, K + 1), the background first, and ``bbox_regression`` (B, A, 4).

    Raises:
        ValueError: the size is below 64, or there is another number of channels.

    Source: Liu et al. 2016, "SSD"; Howard et al. 2017, section 4.6.
    """

    strides = (16, 32)

    def __init__(
        self, in_channels: int | Sequence[int], num_classes: int, *, size: int = 300,
        score_thresh: float = 0.01, nms_thresh: float = 0.6, topk_candidates: int = 1000,
        detections_per_img: int = 100,
    ) -> None:
        super().__init__()
        if size < 64:
            raise ValueError(f"SSD needs images of 64 px or more a side, got {size}")
        self.size, self.num_logits = size, num_classes + 1
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.topk_candidates, self.detections_per_img = topk_candidates, detections_per_img
        self.extras, widths = nn.ModuleList(), per_map(in_channels, 2, "channels")
        for narrow, wide in EXTRAS:
            self.extras.append(nn.Sequential(*_layer(widths[-1], narrow, 1), *_layer(narrow, wide, 3)))
            widths.append(wide)
        self.anchor_generator = DefaultBoxGenerator(RATIOS, scales=SCALES)
        counts = self.anchor_generator.num_anchors_per_location()
        self.classification = nn.ModuleList(
            nn.Conv2d(w, n * self.num_logits, 1) for w, n in zip(widths, counts, strict=True)
        )
        self.box_regression = nn.ModuleList(
            nn.Conv2d(w, n * 4, 1) for w, n in zip(widths, counts, strict=True)
        )
        self.coder, self.matcher = BoxCoder((10.0, 10.0, 5.0, 5.0)), SSDMatcher(IOU_THRESH)
        for layer in (*self.classification, *self.box_regression):
            nn.init.normal_(layer.weight, std=0.03)
            nn.init.zeros_(layer.bias)

    def forward(self, *features: Tensor) -> dict[str, Tensor]:
        """Logits and offsets of all default boxes."""
        maps = list(features)
        for extra in self.extras:
            maps.append(_through(extra, maps[-1]))
        logits = [
            _flat(layer(x), self.num_logits) for layer, x in zip(self.classification, maps, strict=True)
        ]
        offsets = [_flat(layer(x), 4) for layer, x in zip(self.box_regression, maps, strict=True)]
        return {"cls_logits": torch.cat(logits, 1), "bbox_regression": torch.cat(offsets, 1)}

    def default_boxes(self) -> Tensor:
        """(A, 4) pixels, in the order of the output."""
        sides = [-(-self.size // 16), -(-self.size // 32)]
        for _ in EXTRAS:
            sides.append(-(-sides[-1] // 2))
        images = ImageList(torch.empty(1, 3, self.size, self.size), [(self.size, self.size)])
        boxes: Tensor = self.anchor_generator(images, [torch.empty(1, 1, side, side) for side in sides])[0]
        return boxes

    def scores(self, logits: Tensor) -> Tensor:
        """Of each class, 0 to 1, without the background.

        Shape:
            logits: (..., K + 1)
            returns: (..., K)
        """
        return logits.softmax(-1)[..., 1:]

    def loss(self, output: dict[str, Tensor], target: Sequence[Target]) -> dict[str, Tensor]:
        """``box`` (smooth L1) and ``class`` (cross-entropy, three hard negatives a positive).

        Args:
            output: of ``forward``.
            target: for each image (boxes, labels) or ``{"boxes", "labels"}``, tensors or lists; boxes are
                (x1, y1, x2, y2) pixels, labels 0 to K - 1; an image may have none.

        Source: Liu et al. 2016, equations 1 to 3.
        """
        logits, offsets = output["cls_logits"], output["bbox_regression"]
        defaults = self.default_boxes().to(offsets.device)
        wanted = torch.zeros(logits.shape[:2], dtype=torch.long, device=defaults.device)
        box = offsets.sum() * 0
        for row, (boxes, labels) in enumerate(to_boxes(image, offsets.device) for image in target):
            if not len(boxes):
                continue
            matched = self.matcher(box_iou(boxes, defaults))
            chosen = torch.where(matched >= 0)[0]
            wanted[row, chosen] = labels[matched[chosen]] + 1
            encoded = self.coder.encode_single(boxes[matched[chosen]], defaults[chosen])
            box = box + F.smooth_l1_loss(offsets[row, chosen], encoded, reduction="sum")
        positive = wanted > 0
        each = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        hard = each.detach().masked_fill(positive, -1).argsort(1, descending=True).argsort(1)
        negative = hard < (NEGATIVES * positive.sum(1, keepdim=True)).clamp(min=NEGATIVES)
        count = positive.sum().clamp(min=1)
        return {"box": box / count, "class": each[positive | negative].sum() / count}

    def decode(self, output: dict[str, Tensor]) -> list[Detections]:
        """The objects on each image."""
        defaults = self.default_boxes().to(output["bbox_regression"].device)
        return [
            nms(
                self.coder.decode_single(offsets, defaults), self.scores(logits), size=self.size,
                score_thresh=self.score_thresh, nms_thresh=self.nms_thresh,
                topk_candidates=self.topk_candidates, detections_per_img=self.detections_per_img,
            )
            for logits, offsets in zip(output["cls_logits"], output["bbox_regression"], strict=True)
        ]


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Convolution (3x3 with stride 2), batch-norm, ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=2 if kernel == 3 else 1, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6()]


def _through(layers: Any, x: Tensor) -> Tensor:
    """The layers in turn; where a lone image leaves a single value a channel, the statistics so far serve."""
    for layer in layers:
        lone = type(layer) is nn.BatchNorm2d and layer.training and x[:, 0].numel() == 1
        x = F.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
        ) if lone else layer(x)
    return x


def _flat(x: Tensor, last: int) -> Tensor:
    """(B, A x last, H, W) -> (B, H x W x A, last)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, last)
