"""Classification on the sphere with a margin: faces of one person closer than they need to be."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.base import Numbers, to_tensor
from heads.saving import Saved

MARGIN_TYPES = ("arcface", "cosface")


class AngularMargin(Saved):
    """Cross-entropy over people, from the angle between a vector and the direction of each person.

    The cosine to the right person is made worse before the softmax: ``arcface`` adds the margin to the angle,
    ``cosface`` takes it from the cosine. Beyond the angle where adding would make the cosine rise again,
    arcface goes on linearly.

    Args:
        num_classes: people, 2 or more.
        embedding_dim: length of the vectors, 1 or more.
        margin_type: ``arcface`` or ``cosface``.
        margin: radians below pi / 2, or cosine below 1; 0 or more.
        scale: of the cosines, above 0.

    Raises:
        ValueError: a number is out of its range, or the margin type is unknown.

    Source: Deng et al. 2019, "ArcFace", eq. 3; Wang et al. 2018, "CosFace", eq. 4.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, *, margin_type: str = "arcface", margin: float = 0.5,
        scale: float = 32.0,
    ) -> None:
        super().__init__()
        if margin_type not in MARGIN_TYPES:
            raise ValueError(f"the margin must be one of {', '.join(MARGIN_TYPES)}, got {margin_type!r}")
        if num_classes < 2:
            raise ValueError(f"a margin separates 2 classes or more, got {num_classes}")
        if not 0 <= margin < (math.pi / 2 if margin_type == "arcface" else 1) or scale <= 0:
            raise ValueError(f"expected a margin of 0 or more and a scale above 0, got {margin:g}, {scale:g}")
        self.margin_type, self.margin, self.scale = margin_type, margin, scale
        self.directions = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.normal_(self.directions, std=embedding_dim**-0.5)

    def forward(self, vectors: Tensor, target: Numbers) -> Tensor:
        """Mean cross-entropy in nats.

        Shape:
            vectors: (B, embedding_dim) unit vectors
            target: (B,) 0 to num_classes - 1; a tensor or a list.
        """
        cosines = vectors @ F.normalize(self.directions, dim=1).T
        classes = to_tensor(target, vectors)
        right = cosines.gather(1, classes[:, None])
        return F.cross_entropy(
            self.scale * cosines.scatter(1, classes[:, None], self._with_margin(right)), classes
        )

    def _with_margin(self, cosine: Tensor) -> Tensor:
        if self.margin_type == "cosface":
            return cosine - self.margin
        sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        # past pi - margin the cosine of the sum would rise again
        return torch.where(
            cosine > -math.cos(self.margin), turned, cosine - self.margin * math.sin(self.margin)
        )
