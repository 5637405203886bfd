"""The detectors of the paper's Table 13, in the shape in which their cost is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead

from backbone import MobileNetV1
from heads import SSD, FasterRCNN

PROPOSALS, ANCHORS = 300, 12
VGG_CHANNELS, VGG_HIDDEN = 512, 4096


class CountedTwoStage(nn.Module):
    """Faster R-CNN without its choices: the body to stride 16, the proposals' head, and 300 regions."""

    def __init__(self, trunk: MobileNetV1, head: FasterRCNN) -> None:
        super().__init__()
        trunk.blocks, trunk.stage_strides = trunk.blocks[:-1], trunk.stage_strides[:-1]
        self.trunk, self.head = trunk, head

    def forward(self, images: Tensor) -> Any:
        """What is computed for one image, proposals being what they may."""
        deep = self.trunk(images)[16]
        regions = deep.new_empty(PROPOSALS, deep.shape[1], 7, 7)
        return self.head.rpn.head([deep]), self.head.roi.box_predictor(self.head.roi.box_head(regions))


class CountedSSD(nn.Module):
    """The body and SSD's layers; without default boxes, which cost nothing."""

    def __init__(self, trunk: MobileNetV1, head: SSD) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Raw output."""
        maps = self.trunk(images)
        output: dict[str, Tensor] = self.head(maps[16], maps[32])
        return output


def detector(kind: str, width: float, resolution: int, classes: int) -> nn.Module:
    """A detector of Table 13 to be counted.

    Args:
        kind: ``ssd`` or ``frcnn``.
        width: multiplier of the backbone, above 0.
        resolution: side of the image in pixels.
        classes: without the background.
    """
    with torch.no_grad():
        trunk = MobileNetV1(width)
        channels = [trunk.channels[16], trunk.channels[32]]
        if kind == "ssd":
            return CountedSSD(trunk, SSD(channels, classes, size=resolution))
        return CountedTwoStage(trunk, FasterRCNN(channels, classes, size=resolution))


class CountedVGGSSD(nn.Module):
    """torchvision's SSD 300 on VGG-16, without default boxes and suppression."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        whole: Any = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes + 1)
        self.trunk, self.head = whole.backbone, whole.head

    def forward(self, images: Tensor) -> Any:
        """Raw output."""
        return self.head(list(self.trunk(images).values()))


class CountedVGGTwoStage(nn.Module):
    """Faster R-CNN on VGG-16: its convolutions without the last pooling, and its two hidden layers a region.

    Source: Ren et al. 2015, "Faster R-CNN", section 3, with 12 anchors a place as on MobileNet.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = vgg16(weights=None, init_weights=False).features[:-1]
        self.proposer = RPNHead(VGG_CHANNELS, ANCHORS)
        self.regions = TwoMLPHead(VGG_CHANNELS * 7 * 7, VGG_HIDDEN)
        self.last = FastRCNNPredictor(VGG_HIDDEN, classes + 1)

    def forward(self, images: Tensor) -> Any:
        """What is computed for one image, proposals being what they may."""
        deep = self.trunk(images)
        regions = deep.new_empty(PROPOSALS, VGG_CHANNELS, 7, 7)
        return self.proposer([deep]), self.last(self.regions(regions))


def vgg_detector(kind: str, classes: int) -> nn.Module:
    """A comparator of Table 13 to be counted.

    Args:
        kind: ``ssd`` or ``frcnn``.
        classes: without the background.
    """
    return CountedVGGSSD(classes) if kind == "ssd" else CountedVGGTwoStage(classes)
