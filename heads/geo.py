"""Where on earth: a softmax over cells for each of several nested partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.base import Head, Numbers, to_tensor
from heads.cell_softmax import AdaptiveSoftmax, FullSoftmax, Neighbours, SampledSoftmax, soft_cross_entropy

SOFTMAXES = ("full", "sampled", "adaptive")
NOWHERE = -1  # target of an image that no cell holds
OFFSET_REACH = 2.0  # radii of a cell: how far an offset may lead from its representative

Layer = FullSoftmax | SampledSoftmax | AdaptiveSoftmax


@dataclass(frozen=True)
class CellTopK:
    """The best cells of one image, likeliest first.

    Args:
        indices: cells of the finest partition.
        probabilities: of each, 0 to 1.
        offset: (east, north) from the cell's representative in radii of the cell, or None.
    """

    indices: tuple[int, ...]
    probabilities: tuple[float, ...]
    offset: tuple[float, float] | None = None


class GeoCells(Head):
    """Logits over the cells of each partition, coarsest first, by mean pooling and a linear layer.

    Answers are cells of the finest partition: the product of a cell's probability and those of the cells that
    hold it, over all partitions, made to add up to 1.

    Args:
        in_channels: channels of the map.
        cells: how many cells each partition has, coarsest first, 2 or more each; or the number of a single
            partition.
        parents: for each partition but the first, the cell of the one before that holds each of its cells.
        neighbours: for each partition None, or tables (K, M) of cells that share a cell's target and of their
            weights; with them the loss is a smoothed cross-entropy.
        softmax: ``full``; ``sampled``: in training only some cells are computed; ``adaptive``: fewer weights.
        samples: cells a step and partition, for ``sampled``.
        orders: for ``adaptive``, for each partition all its cells, the most frequent first.
        offset: also predict where in the cell, in radii of the cell.
        dropout: share of pooled features dropped in training, [0, 1).
        stride: which map it takes.

    Shape:
        last: (B, in_channels, H, W)
        returns: (B, sum of cells, and 2 more with ``offset``) logits where the softmax is ``full``; else the
            pooled features (B, in_channels), as training is not to compute all cells. :meth:`split`,
            :meth:`log_probabilities`, ``loss`` and ``decode`` take either.

    Raises:
        ValueError: sizes do not fit, or a parent is not there.
    Source: Weyand et al. 2016, PlaNet (cells); Mueller-Budack et al. 2018, Geolocation estimation of images
        using a hierarchical model and scene classification (product over partitions); Haas et al. 2024,
        PIGEON (targets shared by distance).
    """

    uses_global_pool = True

    def __init__(
        self, in_channels: int, cells: int | Sequence[int], parents: Sequence[Sequence[int]] = (), *,
        neighbours: Sequence[tuple[Tensor, Tensor] | None] = (), softmax: str = "full", samples: int = 2048,
        orders: Sequence[Sequence[int]] = (), offset: bool = False, dropout: float = 0.0, stride: int = 32,
    ) -> None:
        super().__init__()
        cells = (cells,) if isinstance(cells, int) else cells
        _check_sizes(cells, parents, neighbours, softmax, orders)
        self.strides, self.cells, self.softmax = (stride,), tuple(cells), softmax
        self.in_channels = in_channels
        self.dropout = nn.Dropout(dropout)
        orders = orders or [()] * len(cells)
        self.layers = nn.ModuleList(
            _layer(softmax, in_channels, count, samples, order)
            for count, order in zip(cells, orders, strict=True)
        )
        self.neighbours = nn.ModuleList(
            nn.Identity() if tables is None else Neighbours(*map(torch.as_tensor, tables))
            for tables in neighbours or [None] * len(cells)
        )
        self.offset = nn.Linear(in_channels, 2) if offset else None
        for number, line in enumerate(_ancestors(cells, parents)):
            self.register_buffer(f"ancestors_{number}", line, persistent=False)

    def forward(self, *features: Tensor) -> Tensor:
        """Logits of all partitions side by side, or pooled features: see the class."""
        (last,) = features
        return self.from_pooled(self.dropout(last.mean(dim=(2, 3))))

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """The output for pooled features (B, in_channels)."""
        return self.logits(pooled) if self.softmax == "full" else pooled

    def logits(self, pooled: Tensor) -> Tensor:
        """All logits, and the offset, of pooled features (B, in_channels)."""
        parts = [layer(pooled) for layer in self.layers]
        return torch.cat(parts if self.offset is None else [*parts, self.offset(pooled)], dim=1)

    def split(self, output: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """The logits of each partition, (B, K) each, and the offset (B, 2) within reach, or None.

        Raises:
            ValueError: the output is of another head.
        """
        wanted = sum(self.cells) + (0 if self.offset is None else 2)
        if self.softmax != "full" and output.shape[1] == self.in_channels:
            output = self.logits(output)
        if output.shape[1] != wanted:
            raise ValueError(f"expected an output (B, {wanted}) of this head, got {tuple(output.shape)}")
        parts = list(torch.split(output, [*self.cells, wanted - sum(self.cells)], dim=1))
        raw = parts.pop()
        return parts, None if self.offset is None else _within_reach(raw)

    def loss(self, output: Tensor, target: Numbers | Mapping[str, Numbers]) -> dict[str, Tensor]:
        """A cross-entropy in nats for each partition, averaged over the images that it holds.

        Shape:
            output: what ``forward`` gave.
            target: (B,) or (B, partitions) cells, -1 where no cell holds the image; or ``{"cells": that,
                "offset": (B, 2)}``; tensors or lists.
        """
        known = target if isinstance(target, Mapping) else {"cells": target}
        table = to_tensor(known["cells"], output)
        table = table[:, None] if table.ndim == 1 else table
        if table.shape != (len(output), len(self.cells)):
            raise ValueError(f"expected {len(self.cells)} targets an image, got {tuple(table.shape)}")
        if self.training and self.softmax != "full":
            parts = [output] * len(self.cells)
            offset = None if self.offset is None else _within_reach(self.offset(output))
        else:
            parts, offset = self.split(output)
        losses = {
            self._loss_name(number): self._cross_entropy(number, part, table[:, number])
            for number, part in enumerate(parts)
        }
        if offset is not None and "offset" in known:
            losses["offset"] = _offset_loss(offset, to_tensor(known["offset"], output), table[:, -1] >= 0)
        return losses

    def _loss_name(self, number: int) -> str:
        return "cross_entropy" if len(self.cells) == 1 else f"cross_entropy_{number}"

    def _cross_entropy(self, number: int, part: Tensor, target: Tensor) -> Tensor:
        known = target != NOWHERE
        if not known.any():
            return part.sum() * 0.0
        layer, tables = self.layers[number], self.neighbours[number]
        shared = tables if isinstance(tables, Neighbours) else None
        if self.training and isinstance(layer, SampledSoftmax | AdaptiveSoftmax):
            return layer.training_loss(part[known], target[known], shared)
        return soft_cross_entropy(part[known], target[known], shared)

    def log_probabilities(self, output: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Logarithms of the probabilities of the finest partition's cells; each row's cells add up to 1.

        Args:
            output: what ``forward`` gave.
            temperature: above 0; logits are divided by it before each softmax.

        Shape:
            returns: (B, cells of the finest partition), double precision.
        """
        parts, _ = self.split(output)
        total = torch.zeros(len(output), self.cells[-1], dtype=torch.float64, device=output.device)
        for number, part in enumerate(parts):
            line: Tensor = self.get_buffer(f"ancestors_{number}")
            total += torch.log_softmax(part.double() / temperature, dim=1)[:, line]
        return torch.log_softmax(total, dim=1)

    def decode(self, output: Tensor, *, top: int = 5, temperature: float = 1.0) -> list[CellTopK]:
        """The ``top`` likeliest cells of the finest partition for each image.

        Args:
            output: what ``forward`` gave.
            top: how many; no more than there are cells are given.
            temperature: as for :meth:`log_probabilities`.
        """
        probabilities = self.log_probabilities(output, temperature=temperature).exp()
        values, indices = probabilities.topk(min(top, self.cells[-1]), dim=1)
        offset = self.split(output)[1]
        offsets = [None] * len(output) if offset is None else [(x, y) for x, y in offset.tolist()]
        return [
            CellTopK(tuple(cells), tuple(p), shift)
            for cells, p, shift in zip(indices.tolist(), values.tolist(), offsets, strict=True)
        ]


def _within_reach(raw: Tensor) -> Tensor:
    return OFFSET_REACH * torch.tanh(raw / OFFSET_REACH)


def _offset_loss(offset: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean distance, with a smooth bottom, over the images that a cell holds."""
    if not known.any():
        return offset.sum() * 0.0
    return F.smooth_l1_loss(offset[known], target[known].clamp(-OFFSET_REACH, OFFSET_REACH))


def _layer(softmax: str, in_channels: int, count: int, samples: int, order: Sequence[int]) -> Layer:
    if softmax == "sampled":
        return SampledSoftmax(in_channels, count, samples=samples)
    return AdaptiveSoftmax(in_channels, order) if softmax == "adaptive" else FullSoftmax(in_channels, count)


def _ancestors(cells: Sequence[int], parents: Sequence[Sequence[int]]) -> list[Tensor]:
    """For each partition, which of its cells holds each cell of the finest."""
    line = torch.arange(cells[-1])
    lines = [line]
    for up in reversed(parents):
        line = torch.tensor(up, dtype=torch.long)[line]
        lines.insert(0, line)
    return lines


def _check_sizes(
    cells: Sequence[int], parents: Sequence[Sequence[int]], neighbours: Sequence[Any], softmax: str,
    orders: Sequence[Sequence[int]],
) -> None:
    if not cells or min(cells) < 2:
        raise ValueError(f"each partition needs 2 cells or more, got {list(cells)}")
    if [len(up) for up in parents] != list(cells[1:]):
        got = [len(up) for up in parents]
        raise ValueError(f"expected a parent for each of {list(cells[1:])} finer cells, got {got}")
    for count, up in zip(cells[:-1], parents, strict=True):
        if min(up) < 0 or max(up) >= count:
            raise ValueError(f"expected parents 0 to {count - 1}, got {min(up)} to {max(up)}")
    if softmax not in SOFTMAXES:
        raise ValueError(f"softmax must be one of {', '.join(SOFTMAXES)}, got {softmax!r}")
    sizes = [None if tables is None else len(tables[0]) for tables in neighbours]
    fits = len(sizes) in (0, len(cells)) and all(n in (None, k) for n, k in zip(sizes, cells, strict=False))
    if not fits:
        raise ValueError(f"expected neighbours for {list(cells)} cells, or None, got {sizes}")
    if softmax == "adaptive" and [len(order) for order in orders] != list(cells):
        raise ValueError(f"an adaptive softmax needs the order of all {list(cells)} cells by frequency")
