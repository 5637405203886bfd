"""Classification on the sphere with a margin: faces of one person closer than they need to be."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("arcface", "cosface")


class AngularMargin(nn.Module):
    """Cross-entropy over people, from the angle between a vector and the direction of each person.

    The own person's cosine is made worse before the softmax: ``arcface`` adds the margin to the angle,
    ``cosface`` takes it from the cosine. Beyond the angle where adding would make the cosine rise again,
    arcface goes on linearly.

    Args:
        people: 2 or more.
        dim: length of the vectors.
        kind: ``arcface`` or ``cosface``.
        margin: radians below pi / 2, or cosine below 1; 0 or more.
        scale: of the cosines, above 0.

    Raises:
        ValueError: a number is out of its range, or the kind is unknown.

    Source: Deng et al. 2019, "ArcFace", eq. 3; Wang et al. 2018, "CosFace", eq. 4.
    """

    def __init__(
        self, people: int, dim: int, *, kind: str = "arcface", margin: float = 0.5, scale: float = 32.0
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"the margin must be one of {', '.join(KINDS)}, got {kind!r}")
        if people < 2:
            raise ValueError(f"a margin parts 2 people or more, got {people}")
        if not 0 <= margin < (math.pi / 2 if kind == "arcface" else 1) or scale <= 0:
            raise ValueError(f"expected a margin of 0 or more and a scale above 0, got {margin:g}, {scale:g}")
        self.kind, self.margin, self.scale = kind, margin, scale
        self.directions = nn.Parameter(torch.empty(people, dim))
        nn.init.normal_(self.directions, std=dim**-0.5)

    def forward(self, vectors: Tensor, people: Tensor) -> Tensor:
        """Mean cross-entropy in nats.

        Shape:
            vectors: (B, dim) unit vectors
            people: (B,) 0 to people - 1.
        """
        cosines = vectors @ F.normalize(self.directions, dim=1).T
        own = cosines.gather(1, people[:, None])
        return F.cross_entropy(self.scale * cosines.scatter(1, people[:, None], self._worse(own)), people)

    def _worse(self, own: Tensor) -> Tensor:
        if self.kind == "cosface":
            return own - self.margin
        sine = (1 - own.square()).clamp_min(1e-12).sqrt()
        turned = own * math.cos(self.margin) - sine * math.sin(self.margin)
        # past pi - margin the cosine of the sum would rise again
        return torch.where(
            own > -math.cos(self.margin), turned, own - self.margin * math.sin(self.margin)
        )
