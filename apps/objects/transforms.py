"""Photos with boxes to squares: SSD's distortions in training; squashed, or padded with their shape kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from datasets.detection.base import BoxTarget
from datasets.image_io import Pixels

GREY = 128
LEAST_PX = 1.0  # boxes with a shorter side on the square are not learned


@dataclass(frozen=True)
class ToSquare:
    """An image on a square of ``side`` px, squashed or at the top left with its shape kept."""

    side: int
    keep_aspect: bool

    def __call__(self, pixels: Pixels) -> Tensor:
        """(H, W, 3) uint8 -> (3, side, side) uint8."""
        return self._placed(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1))

    def both(self, pixels: Pixels, target: BoxTarget) -> tuple[Tensor, BoxTarget]:
        """The image on its square, and the target as it is: evaluation is done in the image's pixels."""
        return self(pixels), target

    def factors(self, width: float, height: float) -> tuple[float, float]:
        """Pixels of the square for a pixel of the image, along x and y."""
        longest = max(width, height)
        return (self.side / longest,) * 2 if self.keep_aspect else (self.side / width, self.side / height)

    def back(self, boxes: Tensor, width: float, height: float) -> Tensor:
        """Boxes (N, 4) on the square in pixels of the image, cut to it."""
        x, y = self.factors(width, height)
        result = boxes / boxes.new_tensor([x, y, x, y])
        return result.clamp(min=0).minimum(result.new_tensor([width, height, width, height]))

    def _placed(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x, y = self.factors(width, height)
        size = [max(round(height * y), 1), max(round(width * x), 1)]
        small = F.resize(image, size, antialias=True)
        square: Tensor = F.pad(small, [0, 0, self.side - size[1], self.side - size[0]], fill=GREY)
        return square


@dataclass(frozen=True)
class Augmented:
    """What training shows: SSD's distortions where asked for, then the square.

    Args:
        square: how the image comes onto its square.
        augment: ``ssd`` (photometric, zoom out, crop by overlap, mirror), ``mirror`` or ``none``.

    Source: Liu et al. 2016, "SSD", sections 2.2 and 3.6.
    """

    square: ToSquare
    augment: str

    @cached_property
    def _steps(self) -> Any:
        if self.augment == "none":
            return v2.Identity()
        flip = [v2.RandomHorizontalFlip(0.5)]
        if self.augment == "mirror":
            return v2.Compose(flip)
        return v2.Compose([
            v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=GREY, side_range=(1.0, 3.0)),
            v2.RandomIoUCrop(), *flip,
        ])

    def __call__(self, pixels: Pixels) -> Tensor:
        """The image as it is, on its square."""
        return self.square(pixels)

    def both(self, pixels: Pixels, target: BoxTarget) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The augmented image, and (boxes, labels) on its square; ignored objects are left out."""
        boxes, labels, ignored, (width, height), _ = target
        image = tv_tensors.Image(torch.from_numpy(np.array(pixels)).permute(2, 0, 1))
        shape = image.shape[-2:]
        scale = np.array([shape[1] / width, shape[0] / height] * 2, np.float32)
        kept = ignored == 0
        frames: Any = tv_tensors.BoundingBoxes  # untyped arguments
        sample = {
            "image": image, "labels": torch.from_numpy(labels[kept]),
            "boxes": frames(_floats(boxes[kept] * scale), format="XYXY", canvas_size=shape),
        }
        if kept.any():
            sample = v2.SanitizeBoundingBoxes()(self._steps(sample))
        height, width = sample["image"].shape[-2:]
        x, y = self.square.factors(width, height)
        result = torch.as_tensor(sample["boxes"]).reshape(-1, 4) * torch.tensor([x, y, x, y])
        large = (result[:, 2:] - result[:, :2]).amin(1) >= LEAST_PX
        image = self.square._placed(sample["image"].as_subclass(Tensor))
        return image, (result[large], sample["labels"][large])


def _floats(boxes: NDArray[Any]) -> Tensor:
    return torch.from_numpy(boxes.astype(np.float32)).reshape(-1, 4)
