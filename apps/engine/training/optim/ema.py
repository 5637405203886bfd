"""A moving average of the weights, which is often better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from timm.utils import ModelEmaV3
from torch import nn


class EMA:
    """Exponential moving average of parameters and batch-norm statistics, with a warm-up.

    After update t the average moves by ``1 - min(decay, (1 + t) / (10 + t))`` towards the model, so that
    it forgets the first weights also when there are few steps: after 100 of them the random start
    weighs less than 1e-12 of the average, where a plain decay of 0.9999 would leave it 99 %.

    Args:
        model: what to average; not wrapped in DistributedDataParallel.
        decay: the greatest decay, [0, 1).

    Raises:
        ValueError: ``decay`` is out of range.

    Source:
        timm's ``ModelEmaV3``, with the warm-up of TensorFlow's ``ExponentialMovingAverage(num_updates=t)``.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"--ema must be 0 or more and below 1, got {decay}")
        self.updates = 0
        self.ema = ModelEmaV3(model, decay=decay, use_warmup=True, warmup_gamma=9.0, warmup_power=1.0)
        self.ema.requires_grad_(False)

    def update(self, model: nn.Module) -> None:
        """Move the average towards the model; call it after each step of the optimizer."""
        self.ema.update(model, step=self.updates + 2)  # timm copies the model at its steps 0 and 1
        self.updates += 1

    def copy_to(self, model: nn.Module) -> None:
        """Put the averaged weights into the model for good."""
        model.load_state_dict(self.ema.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The averaged tensors (no copies) and the number of updates."""
        return {"updates": self.updates, "average": self.ema.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.ema.module.load_state_dict(state["average"])
        self.updates = int(state["updates"])

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """The averaged weights in the model for the length of a ``with``; then its own, bit for bit."""
        results = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            model.load_state_dict(self.ema.module.state_dict())
            yield
        finally:
            model.load_state_dict(results)
