"""Batches of images to answer for, with the pixels that an exported file of the same network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apps.engine.data.loader import Loader
from apps.engine.data.transforms import ImageTransform
from apps.engine.inference.preprocess import square
from backbone import Preprocessing
from datasets.base import ImageDataset
from datasets.image_io import Pixels

BATCH = 32


@dataclass(frozen=True)
class AnswerTransform(ImageTransform):
    """The central square of an image, as :func:`apps.engine.inference.preprocess.square` makes it.

    Args:
        resolution: side of the result in pixels.
        crop: share of the resized short side that is seen, (0, 1].
        resize: ``crop`` or ``squash``, as of :func:`apps.engine.inference.preprocess.square`.
    """

    resolution: int
    crop: float
    resize: str = "crop"

    def __call__(self, photo: Pixels | Image.Image) -> Tensor:
        """(H, W, 3) uint8 -> (3, S, S) uint8."""
        pixels = square(np.asarray(photo), self.resolution, self.crop, self.resize)
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def answer_loader(photos: ImageDataset, seen: Preprocessing, *, workers: int | None) -> Loader:
    """Images in order, read as :func:`apps.engine.inference.preprocess.read_square` reads them.

    Args:
        photos: the images.
        seen: how the weights want them.
        workers: reading processes; None decides by the cores.
    """
    return Loader(
        photos, AnswerTransform(seen.resolution, seen.crop, seen.resize), batch_size=BATCH, workers=workers,
        min_side=2 * math.ceil(seen.resolution / seen.crop) if seen.resize == "crop" else None,
    )
