"""The loss terms of an application whose head needs nothing but the photos and their targets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Terms = Callable[["Tensor", "nn.Module", Any], dict[str, "Tensor"]]


def plain_terms(head: Any, cast: Callable[[], AbstractContextManager[Any]]) -> Terms:
    """(images, module, targets) -> the head's own terms of the module's output in full precision.

    Args:
        head: with a ``loss`` of output and targets.
        cast: the context in which the network computes.
    """

    from apps.engine.data.collate import mapped

    def terms(images: Tensor, model: nn.Module, targets: Any) -> dict[str, Tensor]:
        with cast():
            output = model(images)
        found: dict[str, Tensor] = head.loss(mapped(lambda one: one.float(), output), targets)
        return found

    return terms
