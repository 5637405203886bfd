"""SSD with 1x1 predictors on two maps of a backbone and four of its own."""

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

from heads.base import Head
from heads.detections import Detections, Target, suppressed

EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # 1x1, then 3x3 with stride 2
RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]]  # 4, 6, 6, 6, 6, 6 boxes a place
SCALES = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]  # of the image's side, TensorFlow's for MobileNet
NEGATIVES = 3  # for each positive box
MATCHED = 0.5  # least intersection over union


class SSD(Head):
    """Class and place of every default box.

    Args:
        channels: of the two maps, strides 16 and 32.
        num_classes: K, without the background.
        size: side of the square image in pixels, 64 or more.
        threshold: least score of an answer.
        overlap: intersection over union at which the weaker of two boxes goes.
        most: most boxes an image.

    Shape:
        maps: (B, channels[0], S / 16, S / 16), (B, channels[1], S / 32, S / 32)
        returns: ``logits`` (B, A, K + 1), the background first, and ``offsets`` (B, A, 4).

    Raises:
        ValueError: the size is below 64.

    Source: Liu et al. 2016, "SSD"; Howard et al. 2017, section 4.6.
    """

    strides = (16, 32)

    def __init__(
        self, channels: Sequence[int], num_classes: int, *, size: int = 300, threshold: float = 0.01,
        overlap: float = 0.6, most: int = 100,
    ) -> None:
        super().__init__()
        if size < 64:
            raise ValueError(f"SSD needs images of 64 px or more a side, got {size}")
        self.size, self.outputs = size, num_classes + 1
        self.threshold, self.overlap, self.most = threshold, overlap, most
        self.extras, widths = nn.ModuleList(), list(channels)
        for narrow, wide in EXTRAS:
            self.extras.append(nn.Sequential(*_layer(widths[-1], narrow, 1), *_layer(narrow, wide, 3)))
            widths.append(wide)
        self.boxes = DefaultBoxGenerator(RATIOS, scales=SCALES)
        counts = self.boxes.num_anchors_per_location()
        self.classes = nn.ModuleList(
            nn.Conv2d(w, n * self.outputs, 1) for w, n in zip(widths, counts, strict=True)
        )
        self.places = nn.ModuleList(nn.Conv2d(w, n * 4, 1) for w, n in zip(widths, counts, strict=True))
        self.coder, self.matcher = BoxCoder((10.0, 10.0, 5.0, 5.0)), SSDMatcher(MATCHED)
        for layer in (*self.classes, *self.places):
            nn.init.normal_(layer.weight, std=0.03)
            nn.init.zeros_(layer.bias)

    def forward(self, *maps: Tensor) -> dict[str, Tensor]:
        """Logits and offsets of all default boxes."""
        found = list(maps)
        for extra in self.extras:
            found.append(_through(extra, found[-1]))
        logits = [_flat(layer(x), self.outputs) for layer, x in zip(self.classes, found, strict=True)]
        offsets = [_flat(layer(x), 4) for layer, x in zip(self.places, found, strict=True)]
        return {"logits": torch.cat(logits, 1), "offsets": torch.cat(offsets, 1)}

    def default_boxes(self) -> Tensor:
        """(A, 4) pixels, in the order of the output."""
        sides = [-(-self.size // 16), -(-self.size // 32)]
        for _ in EXTRAS:
            sides.append(-(-sides[-1] // 2))
        images = ImageList(torch.empty(1, 3, self.size, self.size), [(self.size, self.size)])
        boxes: Tensor = self.boxes(images, [torch.empty(1, 1, side, side) for side in sides])[0]
        return boxes

    def loss(self, output: dict[str, Tensor], target: Sequence[Target]) -> dict[str, Tensor]:
        """``box`` (smooth L1) and ``class`` (cross-entropy, three hard negatives a positive).

        Args:
            output: of ``forward``.
            target: (boxes, labels) an image; an image may have none.

        Source: Liu et al. 2016, equations 1 to 3.
        """
        defaults = self.default_boxes().to(output["offsets"].device)
        wanted = torch.zeros(output["logits"].shape[:2], dtype=torch.long, device=defaults.device)
        box = output["offsets"].sum() * 0
        for row, (boxes, labels) in enumerate(target):
            if not len(boxes):
                continue
            matched = self.matcher(box_iou(boxes, defaults))
            chosen = torch.where(matched >= 0)[0]
            wanted[row, chosen] = labels[matched[chosen]] + 1
            goal = self.coder.encode_single(boxes[matched[chosen]], defaults[chosen])
            box = box + F.smooth_l1_loss(output["offsets"][row, chosen], goal, reduction="sum")
        positive = wanted > 0
        each = F.cross_entropy(output["logits"].transpose(1, 2), wanted, reduction="none")
        hard = each.detach().masked_fill(positive, -1).argsort(1, descending=True).argsort(1)
        negative = hard < (NEGATIVES * positive.sum(1, keepdim=True)).clamp(min=NEGATIVES)
        count = positive.sum().clamp(min=1)
        return {"box": box / count, "class": each[positive | negative].sum() / count}

    def decode(self, output: dict[str, Tensor]) -> list[Detections]:
        """The objects on each image."""
        defaults = self.default_boxes().to(output["offsets"].device)
        return [
            suppressed(
                self.coder.decode_single(offsets, defaults), logits.softmax(1)[:, 1:], size=self.size,
                threshold=self.threshold, overlap=self.overlap, candidates=1000, most=self.most,
            )
            for logits, offsets in zip(output["logits"], output["offsets"], strict=True)
        ]


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Convolution (3x3 with stride 2), batch-norm, ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=2 if kernel == 3 else 1, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6()]


def _through(layers: Any, x: Tensor) -> Tensor:
    """The layers in turn; where a lone photo leaves one value a channel, the statistics so far serve."""
    for layer in layers:
        lone = type(layer) is nn.BatchNorm2d and layer.training and x[:, 0].numel() == 1
        x = F.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
        ) if lone else layer(x)
    return x


def _flat(x: Tensor, last: int) -> Tensor:
    """(B, A x last, H, W) -> (B, H x W x A, last)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, last)
