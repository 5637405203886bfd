"""Mixup and cutmix: two images in one, and a target that says so."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor


class Mixer:
    """Mixes each image of a batch with another; class indices become shares of classes.

    Every batch is mixed, by mixup or by cutmix as often where both are on.

    Label smoothing stays with the head's loss, which smooths indices and shares alike: so it happens once.
    Random choices come from numpy's global generator alone: seed it for each step, and a resumed
    run mixes as an uninterrupted one.

    Args:
        classes: K, 2 or more.
        mixup: alpha of mixup's Beta(alpha, alpha); 0 for none. The paper takes 0.1 to 0.4.
        cutmix: alpha of cutmix's; 0 for none. The paper takes 1.

    Raises:
        ValueError: neither is on, or a number is out of range.

    Source:
        Zhang et al. 2018, arXiv:1710.09412 (mixup); Yun et al. 2019, arXiv:1905.04899 (cutmix).
    """

    def __init__(self, classes: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        if min(mixup, cutmix) < 0 or max(mixup, cutmix) == 0:
            raise ValueError(f"--mixup or --cutmix must be above 0 to mix, got {mixup} and {cutmix}")
        self.classes = classes
        self.mixup = Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.0, num_classes=classes)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images and the shares of the classes; the images given stay as they are.

        The partner of image i is image B - 1 - i. A batch of one image is not mixed.

        Shape:
            images: (B, 3, H, W) float.
            targets: (B,) class indices.
            returns: (B, 3, H, W), and (B, K) rows that sum to one.

        Raises:
            ValueError: the images are not floats, or the targets are not class indices.
        """
        self._check(images, targets)
        if len(images) < 2:
            return images, F.one_hot(targets.long(), self.classes).to(images.dtype)
        # timm pairs the first with the last and wants an even number: a copy of the second image makes
        # it one, so that no image meets itself, and is dropped after.
        odd = len(images) % 2
        if odd:
            images, targets = torch.cat([images, images[1:2]]), torch.cat([targets, targets[1:2]])
        else:
            images = images.clone(memory_format=torch.preserve_format)
        mixed, shares = self.mixup(images, targets)
        return mixed[: len(mixed) - odd], shares[: len(shares) - odd]

    def _check(self, images: Tensor, targets: Tensor) -> None:
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"mixing needs float images of shape (B, 3, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        whole = not targets.is_floating_point() and targets.dtype != torch.bool
        if targets.shape != images.shape[:1] or not whole:
            raise ValueError(
                "mixup and cutmix are for one class a photo: they need class indices of shape "
                f"({len(images)},), got {targets.dtype} {tuple(targets.shape)}; leave --mixup and --cutmix "
                "out"
            )
        low, high = (int(end) for end in targets.aminmax()) if len(targets) else (0, 0)
        if low < 0 or high >= self.classes:
            raise ValueError(f"class indices must be 0 to {self.classes - 1}, got {low} to {high}")
