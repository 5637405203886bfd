"""Unit vectors that lie close together for pictures of the same thing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.arcface import AngularMargin
from heads.base import Head, Numbers, to_tensor


class Embedding(Head):
    """A unit vector an image, from the mean of one map or from the whole of it.

    The mean costs few parameters; the whole map keeps where things are, and needs ``map_size``, for its
    linear layer is as large as the map.

    Args:
        in_channels: channels of the map.
        embedding_dim: length of the vectors, 1 or more.
        map_size: (height, width) of the un-pooled map in pixels, or its side; None takes the map's mean.
        cosine_weight: of the loss ``cosine``, 0 or more; 0 leaves it out.
        relational_weight: of the loss ``relational``, 0 or more; 0 leaves it out.
        dropout: share of features dropped in training, [0, 1).
        stride: which map it takes.
        margin_loss: trains by the numbers of the people, too.

    Shape:
        last: (B, in_channels, H, W)
        returns: (B, embedding_dim), each row of length 1.

    Raises:
        ValueError: ``embedding_dim`` or ``map_size`` is not positive, or a weight is negative.
    """

    def __init__(
        self, in_channels: int, embedding_dim: int = 128, *, map_size: int | tuple[int, int] | None = None,
        cosine_weight: float = 0.0, relational_weight: float = 0.0, dropout: float = 0.0, stride: int = 32,
        margin_loss: AngularMargin | None = None,
    ) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"an embedding has 1 dimension or more, got {embedding_dim}")
        size = (map_size, map_size) if isinstance(map_size, int) else map_size
        if size is not None and min(size) < 1:
            raise ValueError(f"the map must be 1 x 1 or larger, got map_size {size}")
        if min(cosine_weight, relational_weight) < 0:
            raise ValueError(
                f"weights of the loss must be 0 or more, got {cosine_weight} and {relational_weight}"
            )
        self.strides = (stride,)
        self.uses_global_pool = size is None
        self.map_size, self.embedding_dim = size, embedding_dim
        self.cosine_weight, self.relational_weight = cosine_weight, relational_weight
        pixels = 1 if size is None else size[0] * size[1]
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels * pixels, embedding_dim)
        self.margin_loss = margin_loss

    def forward(self, *features: Tensor) -> Tensor:
        """Unit vectors of the one map that ``strides`` names.

        Raises:
            ValueError: the head takes the whole map, and the map has another size.
        """
        (last,) = features
        if self.map_size is None:
            flat = last.mean(dim=(2, 3))
        elif tuple(last.shape[2:]) == self.map_size:
            flat = last.flatten(1)
        else:
            raise ValueError(
                f"this head takes whole maps of {self.map_size[0]} x {self.map_size[1]}, got "
                f"{last.shape[2]} x {last.shape[3]}; give images of the size that it was made for"
            )
        return F.normalize(self.linear(self.dropout(flat)), dim=1)

    def loss(self, output: Tensor, target: Numbers | Mapping[str, Numbers]) -> dict[str, Tensor]:
        """How far a student's vectors are from the teacher's; each loss is a mean over the batch.

        ``squared_difference`` is |output - target|^2, 0 to 4; ``cosine`` is 1 less their cosine, 0 to 2;
        ``relational`` the squared difference of the cosines between each two images of the batch;
        ``margin`` the cross-entropy over people, where there is a ``margin_loss``.

        Shape:
            output: (B, embedding_dim) unit vectors
            target: (B, embedding_dim) the teacher's, brought to length 1 here; or ``{"vector": that,
                "person": (B,)}``, either of them left out where it is not known; tensors or lists.

        Raises:
            ValueError: the two have different shapes, or nothing that is known can be learned from.

        Source: Howard et al. 2017 (MobileNets), section 4.7, for the squared difference; Tung and Mori
        2019, "Similarity-preserving knowledge distillation", eq. 2 to 4, for the relational term.
        """
        known = target if isinstance(target, Mapping) else {"vector": target}
        losses: dict[str, Tensor] = {}
        if "vector" in known:
            losses |= self._distillation(output, to_tensor(known["vector"], output))
        if self.margin_loss is not None and "person" in known:
            losses["margin"] = self.margin_loss(output, known["person"])
        if not losses:
            raise ValueError("nothing to learn from: give the teacher's vectors, or a margin and the people")
        return losses

    def _distillation(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        if output.shape != target.shape:
            raise ValueError(
                f"the student gives vectors of shape {tuple(output.shape)}, the teacher of "
                f"{tuple(target.shape)}; make the head with the teacher's number of dimensions"
            )
        target = F.normalize(target.to(output.dtype), dim=1)
        losses = {"squared_difference": (output - target).square().sum(dim=1).mean()}
        if self.cosine_weight:
            losses["cosine"] = self.cosine_weight * (1 - (output * target).sum(dim=1)).mean()
        if self.relational_weight:
            difference = output @ output.T - target @ target.T
            losses["relational"] = self.relational_weight * difference.square().mean()
        return losses

    def decode(self, output: Tensor) -> list[tuple[float, ...]]:
        """The vectors as plain numbers, one tuple an image, brought to length 1 in double precision."""
        rows: list[list[float]] = F.normalize(output.detach().to(torch.float64), dim=1).tolist()
        return [tuple(row) for row in rows]
