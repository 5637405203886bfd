"""SSD with 1x1 predictors on two maps of a backbone and four that the head adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.ops import box_iou, sigmoid_focal_loss

from heads.base import Head, per_map
from heads.default_boxes import Anchors, boxes_per_position, paper_boxes, tensorflow_boxes
from heads.detections import Detections, Target, nms, to_boxes

Padding = Literal["symmetric", "same"]
ScoreConverter = Literal["softmax", "sigmoid"]

EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # 1x1, then 3x3 with stride 2
LEAST_CHANNELS = 16  # of an extra layer, whatever the width
FOCAL_ALPHA, FOCAL_GAMMA = 0.75, 2.0  # of TensorFlow's SSD
NEGATIVES = 3  # for each positive box
IOU_THRESH = 0.5  # least intersection over union of a match


class SSD(Head):
    """Class scores and offsets of every default box.

    Args:
        in_channels: of the two maps, strides 16 and 32; a number for both.
        num_classes: K, without the background.
        size: side of the square image in pixels, 64 or more.
        width: multiplier of the added layers' channels, above 0.
        padding: of the added 3x3 layers: ``symmetric``, or TensorFlow's ``same``.
        anchors: default boxes: the paper's, as ``torchvision`` has them; ``tensorflow``'s, of which the
            first map has 3; or ``stored``: as many as TensorFlow's, in the buffer ``anchors``, (A, 4) shares
            of the side, which is loaded with the state.
        score_converter: ``softmax`` over background and classes, or ``sigmoid`` of each class.
        score_thresh: least score of an answer, 0 to 1.
        nms_thresh: intersection over union from which the weaker of two boxes is dropped, 0 to 1.
        topk_candidates: box-class pairs an image that suppression looks at.
        detections_per_img: most boxes an image.

    Shape:
        features: (B, in_channels[0], S / 16, S / 16), (B, in_channels[1], S / 32, S / 32)
        returns: ``cls_logits`` (B, A, K + 1), the background first, and ``bbox_regression`` (B, A, 4).

    Raises:
        ValueError: the size is below 64, the width is not above 0, a choice is unknown, or there is another
            number of channels.

    Source: Liu et al. 2016, "SSD"; Howard et al. 2017, section 4.6. ``SSD(..., width=w, padding="same",
    anchors="tensorflow", score_converter="sigmoid")`` is the SSD of TensorFlow's object detection API.
    """

    strides = (16, 32)
    freeze_bn_stats = False  # as of a backbone: True keeps the statistics of batch-norm through training
    anchors: Tensor | None

    def __init__(
        self, in_channels: int | Sequence[int], num_classes: int, *, size: int = 300, width: float = 1.0,
        padding: Padding = "symmetric", anchors: Anchors = "torchvision",
        score_converter: ScoreConverter = "softmax", score_thresh: float = 0.01, nms_thresh: float = 0.6,
        topk_candidates: int = 1000, detections_per_img: int = 100,
    ) -> None:
        super().__init__()
        if size < 64:
            raise ValueError(f"SSD needs images of 64 px or more a side, got {size}")
        if not 0 < width < float("inf"):
            raise ValueError(f"width must be above 0, got {width}")
        _check_choice("padding", padding, Padding)
        _check_choice("anchors", anchors, Anchors)
        _check_choice("score_converter", score_converter, ScoreConverter)
        self.size, self.num_logits, self.score_converter = size, num_classes + 1, score_converter
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.topk_candidates, self.detections_per_img = topk_candidates, detections_per_img
        self.extras, widths = nn.ModuleList(), per_map(in_channels, 2, "channels")
        for narrow, wide in scaled_extras(width):
            self.extras.append(nn.Sequential(
                *_layer(nn.Conv2d(widths[-1], narrow, 1, bias=False)),
                *_layer(_strided(narrow, wide, padding)),
            ))
            widths.append(wide)
        counts = boxes_per_position(anchors)
        self.boxes_of = paper_boxes if anchors == "torchvision" else tensorflow_boxes
        self.register_buffer("anchors", tensorflow_boxes(self.sides) if anchors == "stored" else None)
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
            if score_converter == "sigmoid" and layer in self.classification:
                nn.init.constant_(layer.bias, -math.log(99))  # at first, each class has a score of 0.01

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

    def train(self, mode: bool = True) -> SSD:
        """As ``nn.Module.train``; with ``freeze_bn_stats`` batch-norm stays in evaluation mode."""
        super().train(mode)
        for module in self.extras.modules():
            if isinstance(module, nn.BatchNorm2d) and self.freeze_bn_stats:
                module.eval()
        return self

    @property
    def sides(self) -> list[int]:
        """Of the six maps."""
        sides = [-(-self.size // 16), -(-self.size // 32)]
        for _ in EXTRAS:
            sides.append(-(-sides[-1] // 2))
        return sides

    def default_boxes(self) -> Tensor:
        """(A, 4) pixels, in the order of the output."""
        return (self.boxes_of(self.sides) if self.anchors is None else self.anchors) * self.size

    def scores(self, logits: Tensor) -> Tensor:
        """Of each class, 0 to 1, without the background.

        Shape:
            logits: (..., K + 1)
            returns: (..., K)
        """
        chances = logits.softmax(-1) if self.score_converter == "softmax" else logits.sigmoid()
        return chances[..., 1:]

    def loss(self, output: dict[str, Tensor], target: Sequence[Target]) -> dict[str, Tensor]:
        """``box`` (smooth L1) and ``class`` (cross-entropy, three hard negatives a positive).

        With sigmoid scores ``class`` is TensorFlow's focal loss of every box and class instead; the
        background's column learns nothing, as the background is encoded as zeros.

        Args:
            output: of ``forward``.
            target: for each image (boxes, labels) or ``{"boxes", "labels"}``, tensors or lists; boxes are
                (x1, y1, x2, y2) pixels, labels 0 to K - 1; an image may have none.

        Source: Liu et al. 2016, equations 1 to 3; Lin et al. 2017, "Focal loss for dense object detection".
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
        each = self._class_loss(logits, wanted)
        if self.score_converter == "softmax":
            hard = each.detach().masked_fill(positive, -1).argsort(1, descending=True).argsort(1)
            negative = hard < (NEGATIVES * positive.sum(1, keepdim=True)).clamp(min=NEGATIVES)
            each = each[positive | negative]
        count = positive.sum().clamp(min=1)
        return {"box": box / count, "class": each.sum() / count}

    def _class_loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """(B, A): of each default box; ``wanted`` is 0 for the background."""
        if self.score_converter == "softmax":
            return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        classes = F.one_hot(wanted, self.num_logits)[..., 1:].to(logits.dtype)
        losses: Tensor = sigmoid_focal_loss(logits[..., 1:], classes, FOCAL_ALPHA, FOCAL_GAMMA, "none")
        return losses.sum(2)

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


class _Conv2dSame(nn.Conv2d):
    """A 3x3 convolution of stride 2, padded as TensorFlow's SAME: an even side only at its end."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[2:]
        return super().forward(F.pad(x, (width % 2, 1, height % 2, 1)))


def scaled_extras(width: float) -> list[tuple[int, int]]:
    """Channels of the added layers: 1x1, then 3x3, of each of the four maps.

    Args:
        width: multiplier, above 0.

    Source: the feature map generators of TensorFlow's object detection API, which round down.
    """
    return [
        (max(int(narrow * width), LEAST_CHANNELS), max(int(wide * width), LEAST_CHANNELS))
        for narrow, wide in EXTRAS
    ]


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")


def _strided(inputs: int, outputs: int, padding: Padding) -> nn.Conv2d:
    """3x3 with stride 2."""
    if padding == "same":
        return _Conv2dSame(inputs, outputs, 3, stride=2, bias=False)
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)


def _layer(conv: nn.Conv2d) -> list[nn.Module]:
    """The convolution, batch-norm, ReLU6."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU6()]


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
