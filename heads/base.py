"""The contract of a head: which maps it takes, what it answers, how it is taught."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Maps to an output; the head also owns its loss and how its output is read.

    ``strides`` is the socket: ``forward`` takes one map for each of them, in that order.
    ``pools`` says that each map is averaged over height and width first, so that features
    cached as (B, C, 1, 1) give the same output as whole maps.
    """

    strides: tuple[int, ...]
    pools: bool = False

    @abstractmethod
    def forward(self, *maps: Tensor) -> Any:
        """The raw output for the maps of ``strides``."""

    @abstractmethod
    def loss(self, output: Any, target: Any) -> dict[str, Tensor]:
        """Named scalar terms; their sum is what training lowers."""

    @abstractmethod
    def decode(self, output: Any) -> Any:
        """The output as typed answers, one for each image."""
