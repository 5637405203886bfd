"""The losses of a task whose head needs nothing but the images and their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from apps.engine.core.task import Losses
    from heads import Head


def plain_losses(head: Head) -> Losses[Any]:
    """(images, module, targets) -> the head's own losses of the module's output."""

    def losses(images: Tensor, model: nn.Module, targets: Any) -> dict[str, Tensor]:
        return head.loss(model(images), targets)

    return losses
