"""An attempt at an update: what came of it, and the state from which it can be done again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn


class Before:
    """What an attempt at an update changes beside gradients, as it was before.

    Args:
        model: whose buffers, such as the statistics of batch-norm, are kept.
        device: what computes.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        self.device = device
        self.cpu, self.numpy, self.python = torch.get_rng_state(), np.random.get_state(), random.getstate()
        self.gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Put it all back."""
        for buffer, value in self.buffers:
            buffer.copy_(value)
        torch.set_rng_state(self.cpu)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)


@dataclass
class Broken:
    """What is not finite.

    Args:
        what: ``loss`` or ``gradient``.
        indices: of this process's images that it is of.
        terms: of the loss.
        here: whether this process saw it; all processes know of it.
    """

    what: str
    indices: Sequence[int]
    terms: dict[str, float]
    here: bool = True


@dataclass
class Attempt:
    """What came of an update.

    Args:
        sums: images and each term's sum over them, of each batch, over all processes.
        photos: of all batches.
        stopping: the signal that asks to stop, or 0.
        broken: what was not finite, if anything: then no weight has moved.
    """

    sums: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    photos: float = 0.0
    stopping: float = 0.0
    broken: Broken | None = None

    @property
    def mean_loss(self) -> float:
        """Over all images."""
        return sum(sums["loss"] for _, sums in self.sums) / max(self.photos, 1)
