"""Logistic regression on pooled features, for hard, soft and missing targets at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # of the L2 term on standardised features
HELD = 0.2  # share of the images on which the strength is chosen
STEPS = 60


class LinearHead(Protocol):
    """A head that is a linear layer on pooled features, as :class:`heads.MultiLabelClassifier` is."""

    linear: nn.Linear

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Named losses of (N, columns) outputs, NaN targets left out."""


def fit_logistic(
    head: LinearHead, features: NDArray[np.float32], targets: NDArray[np.floating], *, seed: int = 0
) -> str:
    """Fit the linear layer of a head by its own loss; tells how well it went.

    Args:
        head: whose ``linear`` is written.
        features: (N, C) pooled.
        targets: (N, columns), NaN where unknown.
        seed: of the images on which the strength of the L2 term is chosen.
    """
    wanted = torch.as_tensor(np.asarray(targets), dtype=torch.float32)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = torch.from_numpy((features - mean) / spread)
    order = np.random.default_rng(seed).permutation(len(features))
    held, rest = order[: int(len(order) * HELD)], order[int(len(order) * HELD) :]
    if not len(held):
        return "logistic regression: too few photos to validate it"
    losses = {}
    for strength in STRENGTHS:
        weight, bias = _fitted(head, scaled[rest], wanted[rest], strength)
        losses[strength] = float(_total(head, scaled[held] @ weight.T + bias, wanted[held]))
    best = min(losses, key=lambda strength: losses[strength])
    weight, bias = _fitted(head, scaled, wanted, best)
    with torch.no_grad():
        plain = weight / torch.from_numpy(spread)
        head.linear.weight.copy_(plain)
        head.linear.bias.copy_(bias - plain @ torch.from_numpy(mean))
    text = f"loss {losses[best]:.4f} on {len(held)} photos held out"
    return f"logistic regression: L2 of {best:g}, {text}"


def _total(head: LinearHead, output: Tensor, target: Tensor) -> Tensor:
    return torch.stack(list(head.loss(output, target).values())).sum()


def _fitted(
    head: LinearHead, features: Tensor, targets: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = _total(head, features @ weight.T + bias, targets) + strength * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
