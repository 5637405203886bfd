"""Where the default boxes of an SSD stand: as in the paper, or as in TensorFlow's object detection API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

Anchors = Literal["torchvision", "tensorflow", "stored"]

RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]]  # width over height, and its inverse, a map
SCALES = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]  # of the image's side, TensorFlow's for MobileNet
LOWEST_SCALE = 0.1  # of TensorFlow's square box on the first map


def boxes_per_position(anchors: Anchors) -> list[int]:
    """How many default boxes stand at each position of each map: 4 or 3 on the first, 6 on the others."""
    first = 4 if anchors == "torchvision" else 3
    return [first, *(2 + 2 * len(ratios) for ratios in RATIOS[1:])]


def paper_boxes(sides: Sequence[int]) -> Tensor:
    """The boxes of torchvision's generator: ratios 1, sqrt(s s'), 2, 1/2, 3, 1/3, none larger than the image.

    Args:
        sides: of the square maps.

    Shape:
        returns: (A, 4), (x1, y1, x2, y2) as shares of the image's side.

    Source: Liu et al. 2016, "SSD", section 2.2.
    """
    images = ImageList(torch.empty(1, 3, 1, 1), [(1, 1)])
    generator = DefaultBoxGenerator(RATIOS, scales=SCALES)
    boxes: Tensor = generator(images, [torch.empty(1, 1, side, side) for side in sides])[0]
    return boxes


def tensorflow_boxes(sides: Sequence[int]) -> Tensor:
    """TensorFlow's boxes: ratios 1, 2, 1/2, 3, 1/3, sqrt(s s'); on the first map 1 (small), 2, 1/2.

    Args:
        sides: of the square maps.

    Shape:
        returns: (A, 4), (x1, y1, x2, y2) as shares of the image's side; some reach beyond it.

    Source: Huang et al. 2017, "Speed/accuracy trade-offs for modern convolutional object detectors".
    """
    return torch.cat([_on_map(side, shapes) for side, shapes in zip(sides, _shapes(), strict=True)])


def _shapes() -> list[list[tuple[float, float]]]:
    """(scale, width over height) of the boxes of each map."""
    shapes = [[(LOWEST_SCALE, 1.0), (SCALES[0], 2.0), (SCALES[0], 0.5)]]
    for scale, following, ratios in zip(SCALES[1:-1], SCALES[2:], RATIOS[1:], strict=True):
        both_ways = [(scale, ratio) for value in ratios for ratio in (float(value), 1 / value)]
        shapes.append([(scale, 1.0), *both_ways, ((scale * following) ** 0.5, 1.0)])
    return shapes


def _on_map(side: int, shapes: Sequence[tuple[float, float]]) -> Tensor:
    """All boxes of a map, position by position."""
    halves = torch.tensor([(scale * ratio**0.5 / 2, scale / ratio**0.5 / 2) for scale, ratio in shapes])
    at = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    centres = torch.stack([x, y], 2).reshape(-1, 1, 2)
    return torch.cat([centres - halves, centres + halves], 2).reshape(-1, 4)
