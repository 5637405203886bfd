"""Unit vectors that lie close together for pictures of the same thing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.arcface import AngularMargin
from heads.base import Head

LEAST_DIM, MOST_DIM = 128, 512


class Embedding(Head):
    """A unit vector an image, from the mean of one map or from the whole of it.

    The mean costs few parameters; the whole map keeps where things are, and needs ``size``, for its
    linear layer is as large as the map.

    Args:
        in_channels: channels of the map.
        dim: length of the vectors, 128 to 512.
        size: (height, width) of the un-pooled map in pixels; None takes the map's mean.
        cosine: weight of the loss term ``cosine``, 0 or more; 0 leaves it out.
        relational: weight of the loss term ``relational``, 0 or more; 0 leaves it out.
        dropout: share of features dropped in training, [0, 1).
        stride: which map it takes.
        margin: teaches by the people's numbers, too.

    Shape:
        last: (B, in_channels, H, W)
        returns: (B, dim), each row of length 1.

    Raises:
        ValueError: ``dim`` is outside its range, ``size`` is not positive, or a weight is negative.
    """

    def __init__(
        self, in_channels: int, dim: int = 128, *, size: tuple[int, int] | None = None,
        cosine: float = 0.0, relational: float = 0.0, dropout: float = 0.0, stride: int = 32,
        margin: AngularMargin | None = None,
    ) -> None:
        super().__init__()
        if not LEAST_DIM <= dim <= MOST_DIM:
            raise ValueError(f"an embedding has {LEAST_DIM} to {MOST_DIM} dimensions, got {dim}")
        if size is not None and min(size) < 1:
            raise ValueError(f"the map must be 1 x 1 or larger, got size {size}")
        if min(cosine, relational) < 0:
            raise ValueError(f"weights of the loss must be 0 or more, got {cosine} and {relational}")
        self.strides = (stride,)
        self.pools = size is None
        self.size, self.cosine, self.relational = size, cosine, relational
        places = 1 if size is None else size[0] * size[1]
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels * places, dim)
        self.margin = margin

    def forward(self, *maps: Tensor) -> Tensor:
        """Unit vectors of the one map that ``strides`` names.

        Raises:
            ValueError: the head takes the whole map, and the map has another size.
        """
        (last,) = maps
        if self.size is None:
            features = last.mean(dim=(2, 3))
        elif tuple(last.shape[2:]) == self.size:
            features = last.flatten(1)
        else:
            raise ValueError(
                f"this head takes whole maps of {self.size[0]} x {self.size[1]}, got "
                f"{last.shape[2]} x {last.shape[3]}; give images of the size that it was made for"
            )
        return F.normalize(self.linear(self.dropout(features)), dim=1)

    def loss(self, output: Tensor, target: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How far a student's vectors are from the teacher's; each term is a mean over the batch.

        ``squared_difference`` is |output - target|^2, 0 to 4; ``cosine`` one less their cosine, 0 to 2;
        ``relational`` the squared difference of the cosines between each two images of the batch;
        ``margin`` the cross-entropy over people, where there is such a part.

        Shape:
            output: (B, dim) unit vectors
            target: (B, dim) the teacher's, brought to length 1 here; or ``{"vector": that, "person": (B,)}``,
                either of them left out where it is not known.

        Raises:
            ValueError: the two have different shapes, or nothing that is known can be learned from.

        Source: Howard et al. 2017 (MobileNets), section 4.7, for the squared difference; Tung and Mori
        2019, "Similarity-preserving knowledge distillation", eq. 2 to 4, for the relational term.
        """
        known = {"vector": target} if isinstance(target, Tensor) else target
        terms: dict[str, Tensor] = {}
        if "vector" in known:
            terms |= self._taught(output, known["vector"])
        if self.margin is not None and "person" in known:
            terms["margin"] = self.margin(output, known["person"])
        if not terms:
            raise ValueError("nothing to learn from: give the teacher's vectors, or a margin and the people")
        return terms

    def _taught(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        if output.shape != target.shape:
            raise ValueError(
                f"the student gives vectors of shape {tuple(output.shape)}, the teacher of "
                f"{tuple(target.shape)}; make the head with the teacher's number of dimensions"
            )
        target = F.normalize(target.to(output.dtype), dim=1)
        terms = {"squared_difference": (output - target).square().sum(dim=1).mean()}
        if self.cosine:
            terms["cosine"] = self.cosine * (1 - (output * target).sum(dim=1)).mean()
        if self.relational:
            terms["relational"] = self.relational * (output @ output.T - target @ target.T).square().mean()
        return terms

    def decode(self, output: Tensor) -> list[tuple[float, ...]]:
        """The vectors as plain numbers, one tuple an image, brought to length 1 in double precision."""
        rows: list[list[float]] = F.normalize(output.detach().to(torch.float64), dim=1).tolist()
        return [tuple(row) for row in rows]
