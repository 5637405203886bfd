"""Answers averaged over several views of a photo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("none", "mirror", "ten", "scales")
CROP = 0.875  # side of the ten crops, as a share of the enlarged photo's
SCALES = (1.0, 1.25)
STEP_PX, LEAST_PX = 32, 32


def views(images: Tensor, kind: str) -> Iterator[Tensor]:
    """The views of a batch, one at a time, so that memory does not grow with their number.

    ``none`` is the photo (1 view); ``mirror`` also its mirror image (2); ``ten`` the four corners and the
    centre of 0.875 of its side, at the size of the photo, and mirror images (10; Krizhevsky et al. 2012);
    ``scales`` the photo at 1 and 1.25 of its size, to the nearest 32 px, and mirror images (4).

    Args:
        images: whole batch.
        kind: one of the four.

    Shape:
        images: (B, 3, H, W).
        yields: (B, 3, H', W').

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"--tta must be one of {', '.join(KINDS)}, got {kind!r}")
    return _views(images, kind)


def _views(images: Tensor, kind: str) -> Iterator[Tensor]:
    if kind == "none":
        yield images
        return
    seen = {"mirror": lambda x: iter([x]), "ten": _crops, "scales": _scaled}[kind]
    for record in seen(images):
        yield record
        yield record.flip(3)


def _crops(images: Tensor) -> Iterator[Tensor]:
    height, width = images.shape[2:]
    # an even margin, so that the centre is in the middle
    down, right = (2 * round(side * (1 / CROP - 1) / 2) for side in (height, width))
    large = _resized(images, [height + down, width + right])
    corners = [(top, left) for top in (0, down) for left in (0, right)]
    for top, left in [*corners, (down // 2, right // 2)]:
        yield large[:, :, top : top + height, left : left + width]


def _scaled(images: Tensor) -> Iterator[Tensor]:
    for scale in SCALES:
        size = [max(LEAST_PX, round(side * scale / STEP_PX) * STEP_PX) for side in images.shape[2:]]
        if scale == 1.0:
            yield images
        else:
            yield _resized(images, size)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def tta_logits(forward: Callable[[Tensor], Any], images: Tensor, kind: str) -> Any:
    """Logits whose softmax is the mean of the views' probabilities; for ``none`` those of the photo.

    A temperature must be fitted on answers of the same kind that it is used for.

    Args:
        forward: images -> logits, in evaluation mode; for ``none`` any output.
        images: as ``forward`` wants them.
        kind: see :func:`views`.

    Shape:
        images: (B, 3, H, W).
        returns: (B, K); log-probabilities but for ``none``.

    Raises:
        ValueError: the kind is unknown, or the output is not (B, K).
    """
    seen = views(images, kind)
    if kind == "none":
        return forward(next(seen))
    total: Tensor | None = None
    count = 0
    for view in seen:
        logits = forward(view)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"--tta averages class logits of shape (B, K), got {got}; leave --tta out")
        item = F.log_softmax(logits, dim=1)
        total = item if total is None else torch.logaddexp(total, item)
        count += 1
    assert total is not None
    return total - math.log(count)
