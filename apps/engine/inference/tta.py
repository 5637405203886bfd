"""Answers averaged over several views of a photo, for PyTorch's tensors and for numpy's arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.evaluation.classification import log_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from apps.engine.inference.engines import Engine

KINDS = ("none", "mirror", "ten", "scales")
CROP = 0.875  # side of the ten crops, as a share of the enlarged photo's
SCALES = (1.0, 1.25)
STEP_PX, LEAST_PX = 32, 32


def views(images: Any, kind: str) -> Iterator[Any]:
    """The views of a batch, one at a time, so that memory does not grow with their number.

    ``none`` is the photo (1 view); ``mirror`` also its mirror image (2); ``ten`` the four corners and the
    centre of 0.875 of its side, at the size of the photo, and mirror images (10; Krizhevsky et al. 2012);
    ``scales`` the photo at 1 and 1.25 of its size, to the nearest 32 px, and mirror images (4).

    Args:
        images: whole batch, a tensor or an array of uint8.
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


def _views(images: Any, kind: str) -> Iterator[Any]:
    if kind == "none":
        yield images
        return
    seen = {"mirror": lambda x: iter([x]), "ten": _crops, "scales": _scaled}[kind]
    for record in seen(images):
        yield record
        yield record[..., ::-1] if isinstance(record, np.ndarray) else record.flip(3)


def _crops(images: Any) -> Iterator[Any]:
    height, width = images.shape[2:]
    # an even margin, so that the centre is in the middle
    down, right = (2 * round(side * (1 / CROP - 1) / 2) for side in (height, width))
    large = _resized(images, [height + down, width + right])
    corners = [(top, left) for top in (0, down) for left in (0, right)]
    for top, left in [*corners, (down // 2, right // 2)]:
        yield large[:, :, top : top + height, left : left + width]


def _scaled(images: Any) -> Iterator[Any]:
    for scale in SCALES:
        size = [max(LEAST_PX, round(side * scale / STEP_PX) * STEP_PX) for side in images.shape[2:]]
        yield images if scale == 1.0 else _resized(images, size)


def _resized(images: Any, size: list[int]) -> Any:
    if isinstance(images, np.ndarray):
        pictures = (Image.fromarray(np.ascontiguousarray(image)) for image in images.transpose(0, 2, 3, 1))
        made = [np.asarray(p.resize((size[1], size[0]), Image.Resampling.BILINEAR)) for p in pictures]
        return np.stack(made).transpose(0, 3, 1, 2)
    import torch
    import torch.nn.functional as F

    if images.dtype == torch.uint8:  # the pixels that a file's engine sees, to the bit
        return torch.from_numpy(_resized(images.cpu().numpy(), size)).to(images.device)
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def averaged(engine: Engine, images: NDArray[np.uint8], kinds: Sequence[str]) -> list[Any]:
    """The outputs of all heads, those of some averaged over views as :func:`tta_logits` does.

    Args:
        engine: what computes; ``scales`` needs one that takes images of other sizes.
        images: as they come from the square.
        kinds: of views, one a head.

    Shape:
        images: (B, R, R, 3).
    """
    kept: dict[str, Any] = {}
    for kind in dict.fromkeys(kinds):
        heads = [head for head, wanted in zip(engine.spec.heads, kinds, strict=True) if wanted == kind]
        computed = (
            engine.run(engine.laid_out(view.transpose(0, 2, 3, 1)))
            for view in views(images.transpose(0, 3, 1, 2), kind)
        )
        passes = [dict(zip(engine.spec.outputs, outputs, strict=True)) for outputs in computed]
        kept |= {name: passes[0][name] for head in heads for name in head.outputs}
        if kind != "none":
            kept |= {head.outputs[0]: _mean([each[head.outputs[0]] for each in passes]) for head in heads}
    return [kept[name] for name in engine.spec.outputs]


def _mean(logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Logarithms of the mean of the views' probabilities (B, K)."""
    total = np.logaddexp.reduce([log_softmax(view) for view in logits]) - math.log(len(logits))
    mean: NDArray[np.float32] = total.astype(np.float32)
    return mean


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
    import torch
    import torch.nn.functional as F

    seen = views(images, kind)
    if kind == "none":
        return forward(next(seen))
    total: Tensor | None = None
    count = 0
    for view in seen:
        logits = forward(view)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ValueError(f"--tta averages class logits of shape (B, K), got {got}; leave --tta out")
        item = F.log_softmax(logits, dim=1)
        total = item if total is None else torch.logaddexp(total, item)
        count += 1
    assert total is not None
    return total - math.log(count)
