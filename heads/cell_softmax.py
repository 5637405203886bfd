"""Last layers for many classes: all logits, a sample of them, or a tree of them by frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NARROWEST = 4  # each further group of an adaptive softmax has so many times fewer channels
INITIAL_STD = 1e-3  # small, so that an untrained layer is undecided: loss = log(num_classes)


class Neighbours(nn.Module):
    """Which classes share the target of each class, and with what weight.

    Args:
        index: (K, M) classes; the class itself among them.
        weight: (K, M) 0 up; rows add up to 1.

    Raises:
        ValueError: shapes differ, a class is not there, or a row does not add up to 1.
    """

    index: Tensor
    weight: Tensor

    def __init__(self, index: Tensor, weight: Tensor) -> None:
        super().__init__()
        if index.shape != weight.shape or index.ndim != 2:
            shapes = f"{tuple(index.shape)} and {tuple(weight.shape)}"
            raise ValueError(f"expected two tables (K, M), got {shapes}")
        if index.min() < 0 or index.max() >= len(index):
            raise ValueError(f"expected neighbours 0 to {len(index) - 1}, got {index.min()} to {index.max()}")
        sums = weight.double().sum(dim=1)
        if weight.min() < 0 or (sums - 1).abs().max() > 1e-4:
            raise ValueError(f"expected weights that add up to 1, got {sums.min():g} to {sums.max():g}")
        self.register_buffer("index", index.long(), persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)


def shared_targets(target: Tensor, neighbours: Neighbours | None) -> tuple[Tensor, Tensor]:
    """Classes that are right for each image, and their weights: (B, M) each, rows add up to 1."""
    if neighbours is None:
        return target[:, None], torch.ones(len(target), 1, device=target.device)
    return neighbours.index[target], neighbours.weight[target]


def soft_cross_entropy(logits: Tensor, target: Tensor, neighbours: Neighbours | None = None) -> Tensor:
    """Cross-entropy against shared targets in nats, averaged over the batch.

    Shape:
        logits: (B, K)
        target: (B,) class indices.
    """
    if neighbours is None:
        return F.cross_entropy(logits, target)
    index, weight = shared_targets(target, neighbours)
    return (logits.logsumexp(dim=1) - (logits.gather(1, index) * weight).sum(dim=1)).mean()


class FullSoftmax(nn.Linear):
    """One linear layer; every class has its logit in every step."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        nn.init.normal_(self.weight, std=INITIAL_STD)
        nn.init.zeros_(self.bias)


class SampledSoftmax(FullSoftmax):
    """The same layer; in training only the logits of the targets and of some other classes are computed.

    The others are drawn evenly and stand for all that were not drawn, so that the sum over all classes is
    right on average. Answers are those of the full layer.

    Args:
        samples: other classes a step, 1 up.

    Source: Jean et al. 2015, On using very large target vocabulary for neural machine translation, section 3,
    with an even proposal.
    """

    def __init__(self, in_channels: int, num_classes: int, *, samples: int) -> None:
        super().__init__(in_channels, num_classes)
        if samples < 1:
            raise ValueError(f"a sampled softmax needs 1 sample or more, got {samples}")
        self.samples = samples

    def training_loss(self, features: Tensor, target: Tensor, neighbours: Neighbours | None) -> Tensor:
        """Estimate of the cross-entropy.

        Shape:
            features: (B, in_channels)
            target: (B,) class indices.
        """
        index, weight = shared_targets(target, neighbours)
        wanted, column = torch.unique(index, return_inverse=True)
        others = torch.randint(self.out_features, (self.samples,), device=target.device)
        others = others[~torch.isin(others, wanted)]
        classes = torch.cat([wanted, others])
        logits = F.linear(features, self.weight[classes], self.bias[classes])
        left_out = self.out_features - len(wanted)
        stands_for = torch.zeros(len(classes), device=logits.device)
        if len(others):
            stands_for[len(wanted) :] = torch.tensor(left_out / len(others)).log()
        total = (logits + stands_for).logsumexp(dim=1)
        return (total - (logits.gather(1, column) * weight).sum(dim=1)).mean()


class AdaptiveSoftmax(nn.Module):
    """Frequent classes in a first layer, rare ones in groups with narrower layers: fewer weights, less work.

    Args:
        order: every class once, the most frequent first.

    Source: Grave et al. 2017, Efficient softmax approximation for GPUs.
    """

    rank: Tensor

    def __init__(self, in_channels: int, order: Sequence[int]) -> None:
        super().__init__()
        count = len(order)
        if sorted(order) != list(range(count)) or count < 12:
            raise ValueError(f"an adaptive softmax needs 12 classes or more, each once in order, got {count}")
        if in_channels < NARROWEST**2:
            raise ValueError(f"an adaptive softmax needs {NARROWEST**2} channels or more, got {in_channels}")
        cuts = [count // 12, count // 3]
        self.layer = nn.AdaptiveLogSoftmaxWithLoss(in_channels, count, cuts, div_value=NARROWEST)
        rank = torch.empty(count, dtype=torch.long)
        rank[torch.tensor(order)] = torch.arange(count)
        self.register_buffer("rank", rank)

    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities of all classes, (B, K)."""
        out: Tensor = self.layer.log_prob(features)[:, self.rank]
        return out

    def training_loss(self, features: Tensor, target: Tensor, neighbours: Neighbours | None) -> Tensor:
        """The cross-entropy, exact; with shared targets all classes are computed."""
        if neighbours is not None:
            return soft_cross_entropy(self(features), target, neighbours)
        loss: Tensor = self.layer(features, self.rank[target]).loss
        return loss
