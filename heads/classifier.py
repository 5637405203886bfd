"""A single label an image: pool the last map, then a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.base import Head, Numbers, to_tensor

INITIAL_STD = 1e-3  # small, so that an untrained head is undecided: loss = log(num_classes)


@dataclass(frozen=True)
class TopK:
    """The best classes of one image, likeliest first: their indices and probabilities."""

    indices: tuple[int, ...]
    probabilities: tuple[float, ...]


class Classifier(Head):
    """Logits over ``num_classes`` from one map, by mean pooling and a linear layer.

    Args:
        in_channels: channels of the map.
        num_classes: 2 or more.
        num_others: of further classes that are answered together, as those of a larger classifier are that
            are not asked for; 0 or more.
        dropout: share of pooled features dropped in training, [0, 1).
        label_smoothing: of the loss, [0, 1).
        class_weights: of the loss, a number of 0 or more for each logit; kept out of the state.
        stride: which map it takes.

    Shape:
        last: (B, in_channels, H, W)
        returns: (B, num_classes), unnormalised; with others (B, num_classes + 1), the last their log-sum-exp,
            so that each class keeps the probability that it has among all.

    Raises:
        ValueError: fewer than two classes, others below 0, or another number of weights.
    """

    uses_global_pool = True

    def __init__(
        self, in_channels: int, num_classes: int, *, dropout: float = 0.0,
        label_smoothing: float = 0.0, stride: int = 32, class_weights: Tensor | Sequence[float] | None = None,
        num_others: int = 0,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"a classifier needs 2 classes or more, got {num_classes}")
        if num_others < 0:
            raise ValueError(f"num_others must be 0 or more, got {num_others}")
        self.num_classes, self.num_others = num_classes, num_others
        self.strides = (stride,)
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, num_classes + num_others)
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)
        nn.init.zeros_(self.linear.bias)
        self.set_class_weights(class_weights)

    def set_class_weights(self, class_weights: Tensor | Sequence[float] | None) -> None:
        """Weigh the classes in the loss from now on.

        Args:
            class_weights: a number of 0 or more for each logit; None weighs all alike.

        Raises:
            ValueError: there is not a weight of 0 or more for each logit.
        """
        if class_weights is None:
            self.class_weights = None
            return
        classes = self.num_classes + bool(self.num_others)
        weights = to_tensor(class_weights, self.linear.weight)
        if weights.shape != (classes,) or not bool((weights >= 0).all()):
            raise ValueError(f"{classes} classes need {classes} weights of 0 or more, got {weights.tolist()}")
        self.class_weights = weights.float()

    def forward(self, *features: Tensor) -> Tensor:
        """Logits of the one map that ``strides`` names."""
        (last,) = features
        logits: Tensor = self.linear(self.dropout(last.mean(dim=(2, 3))))
        if not self.num_others:
            return logits
        others = logits[:, self.num_classes :].logsumexp(dim=1, keepdim=True)
        return torch.cat([logits[:, : self.num_classes], others], dim=1)

    def loss(self, output: Tensor, target: Numbers) -> dict[str, Tensor]:
        """Cross-entropy in nats, averaged over the images; each is counted by the weight of its class.

        The sum is divided by B, not by the weights that happen to be in the batch, so that batches and
        processes add up to the mean over all images.

        Shape:
            output: (B, K) as ``forward`` gives it
            target: (B,) indices of logits, or (B, K) probabilities; a tensor or a list, or the index of a
                single image.
        """
        total = F.cross_entropy(
            output, to_tensor(target, output), self.class_weights, label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return {"cross_entropy": total / len(output)}

    def decode(self, output: Tensor, *, top: int = 5, temperature: float = 1.0) -> list[TopK]:
        """The ``top`` likeliest classes of each image, as if there were no others.

        Args:
            output: (B, K) as ``forward`` gives it.
            top: how many; no more than there are classes are given.
            temperature: above 0; the logits are divided by it before the softmax.
        """
        probabilities = torch.softmax(output[:, : self.num_classes].double() / temperature, dim=1)
        values, indices = probabilities.topk(min(top, self.num_classes), dim=1)
        return [TopK(tuple(i), tuple(p)) for i, p in zip(indices.tolist(), values.tolist(), strict=True)]
