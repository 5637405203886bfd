"""The rate at each step: cosine, steps, plateau or constant, all with a linear warm-up."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from timm.scheduler import CosineLRScheduler, StepLRScheduler

from apps.engine.training.optim.optimizers import cosine

Name = Literal["cosine", "step", "plateau", "constant"]
NAMES: tuple[Name, ...] = ("cosine", "step", "plateau", "constant")


class Schedule:
    """Rates of an optimizer's groups as a function of the step, and for ``plateau`` of the figures so far.

    Made by :func:`make_schedule`.
    """

    def __init__(
        self, shape: Any, *, warmup: int, min_lr_share: float, plateau: Plateau | None,
    ) -> None:
        self.shape, self.warmup, self.min_lr_share, self.plateau = shape, warmup, min_lr_share, plateau

    def set_step(self, step: int) -> None:
        """Set the rates for an update, counted from 0 over the whole run; any order of calls is right."""
        self.shape.step_update(step)
        if step < self.warmup:
            return
        factor = 1.0 if self.plateau is None else self.plateau.factor
        if factor == 1.0 and self.min_lr_share == 0.0:
            return
        share = self.min_lr_share
        blend = isinstance(self.shape, CosineLRScheduler)
        for group in self.shape.optimizer.param_groups:
            base, rate = group["initial_lr"], group["lr"] * factor
            group["lr"] = share * base + (1.0 - share) * rate if blend else max(rate, share * base)

    def epoch_end(self, metric: float) -> bool:
        """Tell how good the model is after an epoch; only ``plateau`` listens.

        Returns:
            Whether the rate falls from the next step on.
        """
        return self.plateau is not None and self.plateau.note(metric)

    def state_dict(self) -> dict[str, float | int | None]:
        """What cannot be known from the step: empty but for ``plateau``; plain numbers."""
        return {} if self.plateau is None else self.plateau.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        if self.plateau is not None:
            self.plateau.load(state)


class Plateau:
    """Counts epochs without a better figure and lowers a factor when they are too many.

    Args:
        patience: epochs without a better figure that are borne; one more lowers the rate.
        rate: what the factor is multiplied by then, (0, 1).
        higher_is_better: of the figure.
    """

    def __init__(self, *, patience: int, rate: float, higher_is_better: bool) -> None:
        self.patience, self.rate, self.higher_is_better = patience, rate, higher_is_better
        self.best: float | None = None
        self.factor, self.waited = 1.0, 0

    def note(self, metric: float) -> bool:
        """Take a figure; a figure that is not finite is no better than any."""
        better = math.isfinite(metric) and (
            self.best is None or (metric > self.best if self.higher_is_better else metric < self.best)
        )
        if better:
            self.best, self.waited = float(metric), 0
            return False
        self.waited += 1
        if self.waited <= self.patience:
            return False
        self.factor, self.waited = self.factor * self.rate, 0
        return True

    def state(self) -> dict[str, float | int | None]:
        """Plain numbers."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.factor, self.best, self.waited = state["factor"], state["best"], state["waited"]


def make_schedule(
    optimizer: torch.optim.Optimizer, *, name: str = "cosine", steps_per_epoch: int, epochs: int,
    warmup_epochs: float = 0.0, min_lr_share: float = 0.0, step_epochs: float = 30.0, step_rate: float = 0.1,
    patience: int = 3, higher_is_better: bool = True,
) -> Schedule:
    """The schedule of a run.

    Warm-up is linear from 0. Then ``cosine`` is half a cosine over the rest of the run, ``step`` multiplies
    by ``step_rate`` at each multiple of ``step_epochs`` since the start, ``plateau`` does so after more than
    ``patience`` epochs without a better figure, and ``constant`` stays.

    Args:
        optimizer: whose groups' ``lr`` are the full rates; after ``load_state_dict``, their ``initial_lr``.
        name: one of the four.
        steps_per_epoch: updates an epoch (batches divided by the accumulation), 1 or more.
        epochs: of the whole run.
        warmup_epochs: of them, those in which the rate rises; shortened to leave one step.
        min_lr_share: of its full rate, the share below which no group falls after the warm-up, [0, 1].
        step_epochs: between two falls of ``step``, above 0.
        step_rate: of ``step`` and ``plateau``, (0, 1).
        patience: of ``plateau``, epochs, 0 or more.
        higher_is_better: of the figure given to :meth:`Schedule.epoch_end`.

    Raises:
        ValueError: there is no such schedule, or a number is out of its range.
    """
    if name not in NAMES:
        raise ValueError(f"there is no schedule {name!r}; there are: {', '.join(NAMES)}")
    _check(step_epochs=step_epochs, step_rate=step_rate, min_lr_share=min_lr_share, patience=patience)
    total = steps_per_epoch * epochs
    warmup = min(round(steps_per_epoch * warmup_epochs), max(total - 1, 0))
    plateau = None
    if name == "cosine":
        shape: Any = cosine(optimizer, steps=total, warmup=warmup)
    else:
        every = max(round(steps_per_epoch * step_epochs), 1)
        shape = StepLRScheduler(
            optimizer, decay_t=every, decay_rate=step_rate if name == "step" else 1.0, warmup_t=warmup,
            warmup_prefix=False, t_in_epochs=False,
        )
    if name == "plateau":
        plateau = Plateau(patience=patience, rate=step_rate, higher_is_better=higher_is_better)
    return Schedule(shape, warmup=warmup, min_lr_share=min_lr_share, plateau=plateau)


def _check(*, step_epochs: float, step_rate: float, min_lr_share: float, patience: int) -> None:
    if not step_epochs > 0:
        raise ValueError(f"--step-epochs must be above 0, got {step_epochs}")
    if not 0 < step_rate < 1:
        raise ValueError(f"--step-rate must be between 0 and 1, got {step_rate}")
    if not 0 <= min_lr_share <= 1:
        raise ValueError(f"--min-lr-share must be 0 to 1, got {min_lr_share}")
    if patience < 0:
        raise ValueError(f"--patience must be 0 or more, got {patience}")
