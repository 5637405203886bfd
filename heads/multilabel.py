"""Attributes of a face, or of anything: independent yes/no answers, and groups such as age in years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.base import Head, Numbers, to_tensor

INITIAL_STD = 0.01


@dataclass(frozen=True)
class AttributeAnswer:
    """What a face has, or anything else.

    Args:
        probabilities: of each yes/no attribute, [0, 1], by name.
        values: the expected class of each group, 0 to K - 1, by name; of an age, years.
    """

    probabilities: dict[str, float]
    values: dict[str, float] = field(default_factory=dict)


class MultiLabelClassifier(Head):
    """Independent logits of yes/no attributes, then the logits of multi-class groups, from one map.

    Args:
        in_channels: of the map.
        names: of the yes/no attributes, 0 or more.
        groups: name -> number of classes, 2 or more, of which exactly one holds; in this order.
        weights: of the attributes in the loss, 0 or more for each of ``names``; None weighs all 1.
        dropout: share of the features dropped before the last layer, [0, 1).
        stride: of the map.
        hidden: units of a layer with ReLU before the last one; 0 for none.

    Shape:
        map: (B, in_channels, H, W)
        returns: (B, N + K1 + K2 + ...) logits: ``names`` first, then a block for each group.

    Raises:
        ValueError: no name at all, a name twice, a group of fewer than 2 classes, or wrong weights.
    """

    uses_global_pool = True

    def __init__(
        self, in_channels: int, names: Sequence[str], *, groups: Mapping[str, int] | None = None,
        weights: Sequence[float] | None = None, dropout: float = 0.0, stride: int = 32, hidden: int = 0,
    ) -> None:
        super().__init__()
        self.names, self.groups, self.strides = tuple(names), dict(groups or {}), (stride,)
        every = [*self.names, *self.groups]
        if not every or len(set(every)) < len(every):
            raise ValueError(f"a head of attributes needs names, each once, got {', '.join(every) or 'none'}")
        small = [name for name, classes in self.groups.items() if classes < 2]
        if small:
            raise ValueError(f"a group needs 2 classes or more; {small[0]} has {self.groups[small[0]]}")
        given = [1.0] * len(self.names) if weights is None else [float(weight) for weight in weights]
        if len(given) != len(self.names) or any(not 0 <= weight < float("inf") for weight in given):
            raise ValueError(f"{len(self.names)} attributes need as many weights of 0 or more, got {given}")
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(given, dtype=torch.float32), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(in_channels, hidden) if hidden else None
        self.linear = nn.Linear(hidden or in_channels, len(self.names) + sum(self.groups.values()))
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *features: Tensor) -> Tensor:
        """Logits from the one map that ``strides`` names."""
        (last,) = features
        pooled = last.mean(dim=(2, 3))
        if self.hidden is not None:
            pooled = F.relu(self.hidden(pooled))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def loss(self, output: Tensor, target: Numbers) -> dict[str, Tensor]:
        """Cross-entropy in nats of what is known, for hard or soft targets; NaN is unknown.

        ``attributes`` is the sum over images and attributes of weight times cross-entropy, divided by the
        number of images and by the sum of the weights. An unknown entry adds nothing to the sum and takes
        nothing from the divisor, so a label weighs the same in every batch, and batches and processes add
        up to the mean over all images. The loss of each group, by its name, is a mean over the images, too.

        Shape:
            output: (B, N + K1 + K2 + ...)
            target: the same, a tensor or a list of lists; probabilities in [0, 1] or NaN; a group's block is
                known or unknown as a whole.

        Raises:
            ValueError: the target is of another shape.

        Source:
            Howard et al. 2017, arXiv:1704.04861, section 4.5: cross-entropy averaged over attributes.
        """
        target = to_tensor(target, output)
        if output.shape != target.shape:
            raise ValueError(
                f"targets of attributes are (B, {output.shape[1]}), as the logits, got {tuple(target.shape)}"
            )
        images, count = max(len(output), 1), len(self.names)
        losses = {}
        if count:
            logits, wanted = output[:, :count], target[:, :count].to(output.dtype)
            known = ~torch.isnan(wanted)
            each = F.binary_cross_entropy_with_logits(
                logits, torch.where(known, wanted, torch.zeros_like(wanted)), reduction="none"
            )
            total = (torch.where(known, each, torch.zeros_like(each)) * self.weights).sum()
            losses["attributes"] = total / (images * self.weights.sum().clamp(min=1e-12))
        for name, block in self.blocks().items():
            wanted = target[:, block].to(output.dtype)
            known = ~torch.isnan(wanted).any(dim=1)
            each = -(torch.nan_to_num(wanted) * F.log_softmax(output[:, block], dim=1)).sum(dim=1)
            losses[name] = torch.where(known, each, torch.zeros_like(each)).sum() / images
        return losses

    def blocks(self) -> dict[str, slice]:
        """The columns of each group in the output."""
        columns, start = {}, len(self.names)
        for name, classes in self.groups.items():
            columns[name] = slice(start, start + classes)
            start += classes
        return columns

    def probabilities(self, output: Tensor) -> Tensor:
        """The logits (B, N + K1 + ...) as probabilities: sigmoids of attributes, a softmax of each group."""
        parts = [torch.sigmoid(output[:, : len(self.names)].double())]
        parts += [torch.softmax(output[:, block].double(), dim=1) for block in self.blocks().values()]
        return torch.cat(parts, dim=1)

    def decode(self, output: Tensor) -> list[AttributeAnswer]:
        """The probability of each attribute and the expected class of each group, image by image.

        Args:
            output: (B, N + K1 + ...) logits.
        """
        table = self.probabilities(output)
        values = {
            name: (table[:, block] @ torch.arange(self.groups[name]).to(table)).tolist()
            for name, block in self.blocks().items()
        }
        return [
            AttributeAnswer(
                dict(zip(self.names, row[: len(self.names)], strict=True)),
                {name: expected[n] for name, expected in values.items()},
            )
            for n, row in enumerate(table.tolist())
        ]
