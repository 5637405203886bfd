"""Where the network looked: Grad-CAM of any head on any backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

Map = NDArray[np.float32]


def grad_cam(
    backbone: nn.Module, head: nn.Module, images: Tensor, classes: Sequence[int], *, stride: int | None = None
) -> Map:
    """How much each pixel's neighbourhood speaks for a class, in the head's view.

    Both modules are evaluated in eval mode; parameters, gradients and modes are as before afterwards,
    and a frozen backbone is no obstacle, since only the head is differentiated.

    Args:
        backbone: images to {stride: map}.
        head: has ``strides``; ``head(*(maps[s] for s in head.strides))`` gives (B, K) logits.
        images: in [0, 1].
        classes: B classes to explain, 0 to K - 1.
        stride: of the map that is looked at; the head's coarsest by default.

    Shape:
        images: (B, 3, H, W).
        returns: (B, H, W) float32, each image's highest value 1, or all 0 where nothing speaks for the class.

    Raises:
        ValueError: classes do not fit the images or the logits, or the head does not read that stride.
    Source: Selvaraju et al. 2017, Grad-CAM, equations 1 and 2.
    """
    if len(classes) != len(images):
        raise ValueError(f"expected one class for each of {len(images)} images, got {len(classes)}")
    strides: tuple[int, ...] = tuple(head.strides)  # type: ignore[arg-type]
    looked_at = max(strides) if stride is None else stride
    if looked_at not in strides:
        raise ValueError(f"the head reads the maps of strides {strides}, not of {looked_at}")
    with _evaluating(backbone, head), torch.inference_mode(False):
        with torch.no_grad():
            maps = {s: m.clone() for s, m in backbone(images).items() if s in strides}
        with torch.enable_grad():
            features = maps[looked_at].requires_grad_(True)
            maps[looked_at] = features * 1  # a head may write into its maps; into a leaf it must not
            logits = head(*(maps[s] for s in strides))
            (gradient,) = torch.autograd.grad(_chosen(logits, classes).sum(), features)
        return _heat(features.detach(), gradient, (images.shape[-2], images.shape[-1]))


def _chosen(logits: Tensor, classes: Sequence[int]) -> Tensor:
    index = torch.as_tensor(classes, dtype=torch.long, device=logits.device)
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < logits.shape[1]:
        raise ValueError(f"expected classes from 0 to {logits.shape[1] - 1}, got {list(classes)}")
    return logits.gather(1, index[:, None])


def _heat(features: Tensor, gradient: Tensor, size: tuple[int, int]) -> Map:
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * features).sum(dim=1, keepdim=True).relu().float()
    heat = F.interpolate(heat, size=size, mode="bilinear", align_corners=False)[:, 0]
    peak = heat.amax(dim=(1, 2), keepdim=True)
    scaled: Map = torch.where(peak > 0, heat / peak, heat).cpu().numpy()
    return scaled


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every submodule gets its own mode back."""
    modes = [(module, module.training) for top in modules for module in top.modules()]
    for top in modules:
        top.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def overlay(image: Image.Image, cam: Map) -> Image.Image:
    """The image in dim grey with the heat shining on it: dark at 0, then purple, orange, yellow at 1.

    Args:
        image: any size and mode.
        cam: (h, w) in [0, 1], stretched to the image.
    """
    grey = np.asarray(image.convert("RGB").convert("L"), dtype=np.float32)[..., None]
    heat = Image.fromarray(np.asarray(cam, dtype=np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    light = matplotlib.colormaps["inferno"](np.clip(np.asarray(heat), 0.0, 1.0))[..., :3] * 255
    return Image.fromarray(np.clip(0.5 * grey + 0.6 * light, 0, 255).astype(np.uint8))
