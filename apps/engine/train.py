"""The loop: one epoch is a function, and a run is a function that calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from apps.engine.loader import BadPhoto, Batch


@dataclass
class Tally:
    """Sums over an epoch: counted once and divided once."""

    photos: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    bad: list[BadPhoto] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, count: int, terms: dict[str, float]) -> None:
        """Add a batch of ``count`` photos whose mean terms are ``terms``."""
        self.photos += count
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count

    def means(self) -> dict[str, float]:
        """Each term's mean over the photos."""
        return {name: total / max(self.photos, 1) for name, total in self.sums.items()}


StepHook = Callable[[int, Tally], None]


def rate(tally: Tally) -> str:
    """How fast it goes, and the loss if there is one, in a few words."""
    words = f"{tally.photos / max(tally.seconds, 1e-9):.0f} photos/s"
    loss = tally.means().get("loss")
    return words if loss is None else f"{words}, loss {loss:.3f}"


def train_epoch(
    model: Callable[[Tensor], Any], loss_terms: Callable[[Any, Tensor], dict[str, Tensor]],
    batches: Iterable[Batch], optimizer: torch.optim.Optimizer, *,
    before_step: Callable[[], None] = lambda: None, clip_norm: float = 1.0,
    on_step: StepHook = lambda _done, _tally: None,
) -> Tally:
    """Teach the model one pass over the batches.

    Args:
        model: images in [0, 1] -> output; put it in training mode first.
        loss_terms: (output, targets) -> named scalar terms; their sum is lowered.
        batches: what to learn from; photos that could not be read are counted, not learned.
        optimizer: of the model's parameters.
        before_step: called before each update, for the schedule.
        clip_norm: bound on the norm of all gradients together.
        on_step: called after each update with the number of batches done and the tally.

    Raises:
        FloatingPointError: a loss term is not finite; the message names the terms.
    """
    tally, start = Tally(), time.perf_counter()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, batch in enumerate(batches, start=1):
        tally.bad.extend(batch.bad)
        if batch.indices:
            terms = loss_terms(model(batch.floats()), batch.targets)
            loss = torch.stack(list(terms.values())).sum()
            values = {name: term.item() for name, term in terms.items()}
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is not finite: {values}; lower --lr, or look at photos {batch.indices[:8]}"
                )
            before_step()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            tally.add(len(batch.indices), values | {"loss": loss.item()})
        tally.seconds = time.perf_counter() - start
        on_step(number, tally)
    return tally


@torch.inference_mode()
def run_model(
    model: Callable[[Tensor], Tensor], batches: Iterable[Batch], *, mirror: bool = False,
    on_step: StepHook = lambda _done, _tally: None,
) -> tuple[Tensor, Tensor, list[int], list[BadPhoto]]:
    """Outputs, targets, dataset indices and unreadable photos over the batches.

    Args:
        model: images in [0, 1] -> (B, ...) output; put it in evaluation mode first.
        batches: in any order.
        mirror: average the outputs of each photo and its mirror image.
        on_step: called after each batch.
    """
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    indices: list[int] = []
    tally, start = Tally(), time.perf_counter()
    for number, batch in enumerate(batches, start=1):
        tally.bad.extend(batch.bad)
        if batch.indices:
            images = batch.floats()
            output = model(images)
            outputs.append((output + model(images.flip(3))) / 2 if mirror else output)
            targets.append(batch.targets)
            indices.extend(batch.indices)
            tally.add(len(batch.indices), {})
        tally.seconds = time.perf_counter() - start
        on_step(number, tally)
    if not outputs:
        raise ValueError(f"none of the {len(tally.bad)} photos could be read; the first: {_first(tally.bad)}")
    return torch.cat(outputs), torch.cat(targets), indices, tally.bad


def _first(bad: list[BadPhoto]) -> str:
    return bad[0].reason if bad else "there are none"
