"""The loss terms of an application whose head needs nothing but the photos and their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Terms = Callable[["Tensor", "nn.Module", Any], dict[str, "Tensor"]]


def plain_terms(head: Any) -> Terms:
    """(images, module, targets) -> the head's own terms of the module's output.

    Args:
        head: with a ``loss`` of output and targets.
    """

    def terms(images: Tensor, model: nn.Module, targets: Any) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = head.loss(model(images), targets)
        return losses

    return terms
