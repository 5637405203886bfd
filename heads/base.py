"""The contract of a head: which maps it takes, what it gives, how it is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from heads.saving import Saved

Numbers = Tensor | Sequence[Any] | float  # what :func:`to_tensor` takes


class Head(Saved, ABC):
    """Maps to an output; the head also owns its loss and how its output is read.

    ``strides`` says which maps ``forward`` takes, and in which order. ``uses_global_pool`` says that each
    map is averaged over height and width first, so that features cached as (B, C, 1, 1) give the same output
    as whole maps. The output is of the same type, with the same keys and shapes, in training and in
    evaluation.
    """

    strides: tuple[int, ...]
    uses_global_pool: bool = False

    @abstractmethod
    def forward(self, *features: Tensor) -> Any:
        """The raw output for the maps of ``strides``."""

    @abstractmethod
    def loss(self, output: Any, target: Any) -> dict[str, Tensor]:
        """Named scalar losses, means over the batch; training minimises their sum."""

    @abstractmethod
    def decode(self, output: Any) -> list[Any]:
        """The output as typed answers, an element an image."""


def to_tensor(values: Numbers, like: Tensor | None = None, *, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of a number, a list of numbers or a tensor, with at least one dimension.

    Args:
        values: what the tensor holds.
        like: whose device it goes to; None leaves a tensor where it is.
        dtype: of the result; None keeps a tensor's, and takes PyTorch's default for lists.
    """
    device = None if like is None else like.device
    return torch.atleast_1d(torch.as_tensor(values, dtype=dtype, device=device))  # type: ignore[no-untyped-call, no-any-return]


def per_map(values: int | Sequence[int], count: int, what: str) -> list[int]:
    """A number for each of ``count`` maps, of a list or of a single number that serves all.

    Raises:
        ValueError: a list of another length.
    """
    numbers = [values] * count if isinstance(values, int) else list(values)
    if len(numbers) != count:
        raise ValueError(f"expected {what} for {count} maps, or a single number, got {numbers}")
    return numbers
