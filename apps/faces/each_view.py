"""A teacher of faces that is asked about each training view, instead of once about each photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor, nn

    from apps.engine.core.task import Losses


class ViewTeacher:
    """A teacher's vectors of a batch of training views: what it says of the very pixels the student sees.

    The student and the teacher then answer the same question, and distortions make new questions instead of
    wrong answers to old ones.

    Args:
        side: of the teacher's crops, px.
        answer: crops of that side -> (B, D) vectors.
        mean: (D,) taken from each unit vector before it is brought to length 1 again, as
            :func:`apps.faces.teachers.centred` does for the photos; None leaves them as they are.

    Source:
        Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent",
        arXiv:2106.05237.
    """

    def __init__(
        self, side: int, answer: Callable[[Sequence[Image.Image]], NDArray[np.float32]],
        mean: NDArray[np.float32] | None,
    ) -> None:
        self.side, self.answer, self.mean = side, answer, mean

    def __call__(self, images: Tensor) -> Tensor:
        """Unit vectors on the images' device.

        Shape:
            images: (B, 3, H, W), bytes or [0, 1]; resized (bilinear, antialiased) to the teacher's side.
            returns: (B, D), float32.
        """
        import torch
        import torch.nn.functional as F
        from PIL import Image

        size = (self.side, self.side)
        views = images.detach()
        views = views.float() if images.dtype == torch.uint8 else views.float() * 255
        if views.shape[2:] != size:
            views = F.interpolate(views, size, mode="bilinear", antialias=True, align_corners=False)
        pixels = views.round().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        vectors = unit(self.answer([Image.fromarray(view) for view in pixels]))
        if self.mean is not None:
            vectors = unit(vectors - self.mean)
        return torch.from_numpy(vectors).to(images.device)


def on_views(losses: Losses[Any], teacher: ViewTeacher) -> Losses[Any]:
    """Losses whose target vectors are a teacher's of the batch itself.

    Args:
        losses: (images, module, targets) -> terms, with the key ``vector`` among the targets.
        teacher: who is asked.
    """

    def asked(images: Tensor, model: nn.Module, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return losses(images, model, targets | {"vector": teacher(images)})

    return asked


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (N, D) brought to length 1."""
    result: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result
