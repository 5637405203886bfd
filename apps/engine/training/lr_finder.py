"""A learning rate by trial: raise it at each step and see where the loss falls and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from apps.engine.core.files import write_whole

SMOOTHING = 0.8
DIVERGED = 4.0
BELOW_BEST = 10.0
LEAST_STEPS = 8


@dataclass(frozen=True)
class LrCurve:
    """What a trial saw.

    Args:
        lrs: the rates tried, rising.
        losses: the loss at each, smoothed.
        suggestion: a rate to train with.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_lr(
    step: Callable[[float], float], *, low: float = 1e-6, high: float = 1.0, steps: int = 60
) -> LrCurve:
    """Train a few steps at exponentially rising rates, until the loss is four times its best.

    The suggestion is a tenth of the rate at which the smoothed loss is lowest: where it is lowest the steps
    are already as long as they can be. (The steepest point is the other usual rule; with photos by the
    batch it is mostly noise.) Not below ``low``. The model and the optimizer are changed by the trial:
    start the training itself from fresh ones.

    Args:
        step: trains on the next batch at the given rate and returns the loss before the update; it may
            raise FloatingPointError for a loss that is not finite.
        low: first rate, above 0.
        high: last rate, above ``low``.
        steps: at most, 8 or more.

    Raises:
        ValueError: the range is empty or the steps are too few, or the loss broke before it could tell.

    Source:
        Smith 2017, arXiv:1506.01186, section 3.3.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"the rates must rise from above 0, got {low} to {high}")
    if steps < LEAST_STEPS:
        raise ValueError(f"finding a rate needs {LEAST_STEPS} steps or more, got {steps}")
    lrs: list[float] = []
    losses: list[float] = []
    mean = best = math.inf
    for number in range(steps):
        lr = low * (high / low) ** (number / (steps - 1))
        loss = _loss_at(step, lr)
        mean = loss if number == 0 else SMOOTHING * mean + (1 - SMOOTHING) * loss
        if not math.isfinite(mean) or loss > DIVERGED * best:
            break
        lrs.append(lr)
        losses.append(mean)
        best = min(best, mean)
    if len(lrs) < LEAST_STEPS:
        raise ValueError(f"the loss broke at step {len(lrs) + 1}, at a rate of {lr:.2g}: begin below {low:g}")
    lowest = lrs[losses.index(min(losses))]
    return LrCurve(tuple(lrs), tuple(losses), max(lowest / BELOW_BEST, low))


def _loss_at(step: Callable[[float], float], lr: float) -> float:
    try:
        return float(step(lr))
    except FloatingPointError:
        return math.nan


def plot_lr(curve: LrCurve, path: Path) -> None:
    """Draw the loss over the rate, with the suggestion, as a PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")  # not pyplot's, so there is nothing to close
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.lrs, curve.losses)
    axes.axvline(curve.suggestion, linestyle="--", color="tab:red", label=f"--lr {curve.suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
