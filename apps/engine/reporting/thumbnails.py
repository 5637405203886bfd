"""Photos for a report: small ones, and where the network looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from apps.engine.core.run_dir import RunConfig
from apps.engine.data.loader import eval_transform
from apps.engine.evaluation.classification import Predictions
from apps.engine.reporting.gradcam import grad_cam, overlay
from datasets.image_io import BadImageError, read_image
from heads import MultiHead

THUMBNAIL_PX = 160
LOOKS = 8


def thumbnail(path: str) -> Image.Image:
    """An image small enough for a page; BadImageError, a ValueError, where it cannot be read."""
    image = read_image(Path(path), min_side=THUMBNAIL_PX)
    image.thumbnail((2 * THUMBNAIL_PX, THUMBNAIL_PX))
    return image


def looks(
    model: MultiHead, name: str, config: RunConfig, predictions: Predictions
) -> list[tuple[Image.Image, str]]:
    """Where the network looked, for a handful of images spread over right and wrong answers."""
    preprocessing = config.backbone.preprocessing
    look = eval_transform(preprocessing.resolution, preprocessing.crop, preprocessing.resize)
    wrong, right = ([int(i) for i in (predictions.right == value).nonzero()[0]] for value in (False, True))
    half = min(len(wrong), LOOKS // 2)
    chosen = _spread(right, LOOKS - half) + _spread(wrong, half)
    pictures: list[tuple[Image.Image, str]] = []
    for index in chosen:
        try:
            pixels = torch.as_tensor(look(read_image(Path(predictions.paths[index]))))
        except BadImageError:
            continue
        answer = int(predictions.predicted[index])
        backbone: Any = model.backbone
        cam = grad_cam(backbone, model.heads[name], pixels[None].float() / 255, [answer])[0]
        image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        truth = predictions.classes[int(predictions.targets[index])]
        verdict = "right" if predictions.classes[answer] == truth else f"it is {truth}"
        pictures.append((overlay(image, cam), f"said {predictions.classes[answer]}: {verdict}"))
    return pictures


def _spread(indices: list[int], count: int) -> list[int]:
    """``count`` of them, evenly spread."""
    if count <= 0 or not indices:
        return []
    step = max(len(indices) / count, 1.0)
    return [indices[int(step * n)] for n in range(min(count, len(indices)))]
