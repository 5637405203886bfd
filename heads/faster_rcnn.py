"""Faster R-CNN on one map (C4), and on a pyramid of maps, of torchvision's parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from heads.base import Head
from heads.detections import Detections, Target, as_torchvision

RATIOS = (0.5, 1.0, 2.0)
C4_SIDES = (64, 128, 256, 512)  # px; 12 anchors a place
POOLED = 7
FPN_CHANNELS, FPN_HIDDEN, FPN_STRIDES = 128, 512, (8, 16, 32)


class LastStage(nn.Module):
    """MobileNet's last stage at stride 1 and the mean; parameter names are those of the backbone's stage.

    Shape:
        regions: (N, inputs, 7, 7)
        returns: (N, outputs)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_Separable(inputs, outputs), _Separable(outputs, outputs))

    def forward(self, regions: Tensor) -> Tensor:
        """A vector a region."""
        vectors: Tensor = self.blocks(regions).mean(dim=(2, 3))
        return vectors


class _Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1, each with batch-norm and ReLU6."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs, eps=1e-5)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-5)
        for conv in (self.conv_dw, self.conv_pw):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (N, C, H, W) -> (N, C', H, W)."""
        x = nn.functional.relu6(self.bn1(self.conv_dw(x)))
        return nn.functional.relu6(self.bn2(self.conv_pw(x)))


class TwoStage(Head):
    """Proposals, and what is in each of them: what both Faster R-CNNs share.

    Args:
        channels: of the maps that proposals are made from.
        num_classes: K, without the background.
        size: side of the square image in pixels.
        anchors: sides in pixels, a tuple a map.
        regions: RoIAlign's (N, C, 7, 7) to (N, features).
        features: of ``regions``.
        threshold, overlap, most: as in :class:`heads.ssd.SSD`.
    """

    def __init__(
        self, channels: int, num_classes: int, *, size: int, anchors: Sequence[tuple[int, ...]],
        regions: nn.Module, features: int, threshold: float, overlap: float, most: int,
    ) -> None:
        super().__init__()
        self.size = size
        maker = AnchorGenerator(tuple(anchors), (RATIOS,) * len(anchors))
        self.rpn = RegionProposalNetwork(
            maker, RPNHead(channels, maker.num_anchors_per_location()[0]), fg_iou_thresh=0.7,
            bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 600, "testing": 300}, nms_thresh=0.7,
        )
        pool = MultiScaleRoIAlign([str(n) for n in range(len(anchors))], POOLED, 2)
        self.roi = RoIHeads(
            pool, regions, FastRCNNPredictor(features, num_classes + 1), 0.5, 0.5, 64, 0.25, None, threshold,
            overlap, most,
        )

    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps that proposals are made from."""
        return list(maps)

    def forward(self, *maps: Tensor) -> Any:
        """In training the maps, which ``loss`` goes on from; else torchvision's dicts, one an image."""
        if self.training:
            return list(maps)
        features, images = self._ready(maps)
        proposals, _ = self.rpn(images, features)
        return self.roi(features, proposals, images.image_sizes)[0]

    def _ready(self, maps: Sequence[Tensor]) -> tuple[dict[str, Tensor], ImageList]:
        levels = self.levels(maps)
        count, side = len(levels[0]), self.size
        empty = torch.empty(count, 3, side, side, device="meta")
        named = OrderedDict((str(n), one) for n, one in enumerate(levels))
        return named, ImageList(empty, [(side, side)] * count)

    def loss(self, output: Any, target: Sequence[Target]) -> dict[str, Tensor]:
        """``objectness``, ``proposal``, ``class`` and ``box``; call in training mode.

        Args:
            output: of ``forward``.
            target: (boxes, labels) an image; an image may have none.

        Source: Ren et al. 2015, "Faster R-CNN", equation 1.
        """
        features, images = self._ready(output)
        wanted = as_torchvision(target)
        proposals, first = self.rpn(images, features, wanted)
        _, second = self.roi(features, proposals, images.image_sizes, wanted)
        return {
            "objectness": first["loss_objectness"], "proposal": first["loss_rpn_box_reg"],
            "class": second["loss_classifier"], "box": second["loss_box_reg"],
        }

    def decode(self, output: Any) -> list[Detections]:
        """The objects on each image."""
        return [Detections(one["boxes"], one["scores"], one["labels"] - 1) for one in output]


class FasterRCNN(TwoStage):
    """The paper's: proposals on the stride-16 map; the backbone's last stage, at stride 1, is the box head.

    Args:
        channels: of the stride-16 map and of the last stage.
        num_classes: K, without the background.
        size: side of the square image in pixels.
        threshold: least score of an answer.
        overlap: intersection over union at which the weaker of two boxes goes.
        most: most boxes an image.
    """

    strides = (16,)

    def __init__(
        self, channels: Sequence[int], num_classes: int, *, size: int = 300, threshold: float = 0.05,
        overlap: float = 0.6, most: int = 100,
    ) -> None:
        super().__init__(
            channels[0], num_classes, size=size, anchors=(C4_SIDES,), regions=LastStage(*channels),
            features=channels[1], threshold=threshold, overlap=overlap, most=most,
        )


class FasterRCNNPyramid(TwoStage):
    """A feature pyramid over strides 8, 16 and 32 in place of the one map.

    Args:
        channels: of the three maps.
        num_classes: K, without the background.
        size, threshold, overlap, most: as in :class:`FasterRCNN`.

    Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
    """

    strides = FPN_STRIDES

    def __init__(
        self, channels: Sequence[int], num_classes: int, *, size: int = 320, threshold: float = 0.05,
        overlap: float = 0.6, most: int = 100,
    ) -> None:
        super().__init__(
            FPN_CHANNELS, num_classes, size=size, anchors=((16, 32), (64, 96), (128, 256)),
            regions=TwoMLPHead(FPN_CHANNELS * POOLED**2, FPN_HIDDEN), features=FPN_HIDDEN,
            threshold=threshold, overlap=overlap, most=most,
        )
        self.pyramid = FeaturePyramidNetwork(list(channels), FPN_CHANNELS)

    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The pyramid over the maps."""
        named = OrderedDict((str(n), one) for n, one in enumerate(maps))
        return list(self.pyramid(named).values())
