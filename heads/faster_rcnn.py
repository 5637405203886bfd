"""Faster R-CNN on one map (C4), and on a pyramid of maps, of torchvision's parts."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from heads.base import Head, per_map
from heads.detections import Detections, Target, to_torchvision

RATIOS = (0.5, 1.0, 2.0)
C4_SIDES = (64, 128, 256, 512)  # px; 12 anchors a position
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
        """A vector for each region."""
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


class TwoStageOutput(TypedDict, total=False):
    """What a two-stage head gives: the maps that proposals are made from; with targets also the losses."""

    features: list[Tensor]
    losses: dict[str, Tensor]


class TwoStage(Head):
    """Proposals, and what is in each of them: what both Faster R-CNNs share.

    Args:
        in_channels: of the maps that proposals are made from.
        num_classes: K, without the background.
        size: side of the square image in pixels.
        anchor_sizes: sides in pixels, a tuple a map.
        box_head: RoIAlign's (N, C, 7, 7) to (N, representation_size).
        representation_size: features of a region.
        score_thresh, nms_thresh, detections_per_img: as in :class:`heads.ssd.SSD`.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, size: int, anchor_sizes: Sequence[tuple[int, ...]],
        box_head: nn.Module, representation_size: int, score_thresh: float, nms_thresh: float,
        detections_per_img: int,
    ) -> None:
        super().__init__()
        self.size = size
        anchors = AnchorGenerator(tuple(anchor_sizes), (RATIOS,) * len(anchor_sizes))
        self.rpn = RegionProposalNetwork(
            anchors, RPNHead(in_channels, anchors.num_anchors_per_location()[0]), fg_iou_thresh=0.7,
            bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 600, "testing": 300}, nms_thresh=0.7,
        )
        pool = MultiScaleRoIAlign([str(n) for n in range(len(anchor_sizes))], POOLED, 2)
        self.roi = RoIHeads(
            pool, box_head, FastRCNNPredictor(representation_size, num_classes + 1), 0.5, 0.5, 64, 0.25, None,
            score_thresh, nms_thresh, detections_per_img,
        )

    @property
    def score_thresh(self) -> float:
        """Least score of an answer, 0 to 1."""
        return float(self.roi.score_thresh)

    @property
    def nms_thresh(self) -> float:
        """Intersection over union from which the weaker of two boxes is dropped, 0 to 1."""
        return float(self.roi.nms_thresh)

    @property
    def detections_per_img(self) -> int:
        """Most boxes an image."""
        return int(self.roi.detections_per_img)

    @abstractmethod
    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps that proposals are made from."""

    def forward(self, *features: Tensor, targets: Sequence[Target] | None = None) -> TwoStageOutput:
        """The maps that proposals are made from, in training and in evaluation.

        Args:
            features: the maps of ``strides``.
            targets: as of :meth:`loss`; with them the losses are part of the output.
        """
        output: TwoStageOutput = {"features": self.levels(features)}
        if targets is not None:
            output["losses"] = self.loss(output, targets)
        return output

    def loss(self, output: TwoStageOutput, target: Sequence[Target] | None = None) -> dict[str, Tensor]:
        """``objectness``, ``proposal``, ``class`` and ``box``.

        Args:
            output: of ``forward``.
            target: for each image (boxes, labels) or ``{"boxes", "labels"}``, tensors or lists; boxes are
                (x1, y1, x2, y2) pixels, labels 0 to K - 1; an image may have none. None where ``forward`` had
                them.

        Raises:
            ValueError: there are no targets, neither here nor in ``forward``.

        Source: Ren et al. 2015, "Faster R-CNN", equation 1.
        """
        if "losses" in output:
            return output["losses"]
        if target is None:
            raise ValueError("a loss needs targets: give them to forward(*features, targets=...) or to loss")
        features, images = _named(output["features"], self.size)
        wanted = to_torchvision(target, output["features"][0].device)
        with self._choosing(by_targets=True):
            proposals, first = self.rpn(images, features, wanted)
            _, second = self.roi(features, proposals, images.image_sizes, wanted)
        return {
            "objectness": first["loss_objectness"], "proposal": first["loss_rpn_box_reg"],
            "class": second["loss_classifier"], "box": second["loss_box_reg"],
        }

    def decode(self, output: TwoStageOutput) -> list[Detections]:
        """The objects on each image."""
        features, images = _named(output["features"], self.size)
        with self._choosing(by_targets=False):
            proposals, _ = self.rpn(images, features)
            answers = self.roi(features, proposals, images.image_sizes)[0]
        return [Detections(image["boxes"], image["scores"], image["labels"] - 1) for image in answers]

    @contextmanager
    def _choosing(self, *, by_targets: bool) -> Iterator[None]:
        """How torchvision's two parts choose regions, whatever mode their layers are in."""
        modes = self.rpn.training, self.roi.training
        self.rpn.training = self.roi.training = by_targets
        try:
            yield
        finally:
            self.rpn.training, self.roi.training = modes


def _named(levels: Sequence[Tensor], size: int) -> tuple[dict[str, Tensor], ImageList]:
    """Maps and images as torchvision wants them; of the images only the shapes are read."""
    images = torch.empty(len(levels[0]), 3, size, size, device="meta")
    named = OrderedDict((str(n), level) for n, level in enumerate(levels))
    return named, ImageList(images, [(size, size)] * len(images))


class FasterRCNN(TwoStage):
    """The paper's: proposals on the stride-16 map; the backbone's last stage, at stride 1, is the box head.

    Args:
        in_channels: of the stride-16 map and of the last stage; a number for both.
        num_classes: K, without the background.
        size: side of the square image in pixels.
        score_thresh: least score of an answer, 0 to 1.
        nms_thresh: intersection over union from which the weaker of two boxes is dropped, 0 to 1.
        detections_per_img: most boxes an image.

    Shape:
        features: (B, in_channels[0], S / 16, S / 16)
        returns: ``{"features": [maps]}``, and with targets ``"losses"``.

    Source: Howard et al. 2017, section 4.6; Ren et al. 2015, "Faster R-CNN".
    """

    strides = (16,)

    def __init__(
        self, in_channels: int | Sequence[int], num_classes: int, *, size: int = 300,
        score_thresh: float = 0.05, nms_thresh: float = 0.6, detections_per_img: int = 100,
    ) -> None:
        first, last = per_map(in_channels, 2, "channels")
        super().__init__(
            first, num_classes, size=size, anchor_sizes=(C4_SIDES,), box_head=LastStage(first, last),
            representation_size=last, score_thresh=score_thresh, nms_thresh=nms_thresh,
            detections_per_img=detections_per_img,
        )

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The map itself."""
        return list(features)


class FasterRCNNPyramid(TwoStage):
    """A feature pyramid over strides 8, 16 and 32 in place of the single map.

    Args:
        in_channels: of the three maps; a number for all.
        num_classes: K, without the background.
        size, score_thresh, nms_thresh, detections_per_img: as in :class:`FasterRCNN`.

    Shape:
        features: (B, in_channels[n], S / stride, S / stride) for strides 8, 16 and 32.
        returns: as :class:`FasterRCNN`.

    Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
    """

    strides = FPN_STRIDES

    def __init__(
        self, in_channels: int | Sequence[int], num_classes: int, *, size: int = 320,
        score_thresh: float = 0.05, nms_thresh: float = 0.6, detections_per_img: int = 100,
    ) -> None:
        super().__init__(
            FPN_CHANNELS, num_classes, size=size, anchor_sizes=((16, 32), (64, 96), (128, 256)),
            box_head=TwoMLPHead(FPN_CHANNELS * POOLED**2, FPN_HIDDEN), representation_size=FPN_HIDDEN,
            score_thresh=score_thresh, nms_thresh=nms_thresh, detections_per_img=detections_per_img,
        )
        self.pyramid = FeaturePyramidNetwork(per_map(in_channels, len(FPN_STRIDES), "channels"), FPN_CHANNELS)

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The pyramid over the maps."""
        named = OrderedDict((str(n), level) for n, level in enumerate(features))
        return list(self.pyramid(named).values())
