"""``finetune --find-lr``: a learning rate by trial, raised step by step until the loss breaks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from apps.engine.core.console import Console
from apps.engine.core.distributed import World
from apps.engine.core.files import writable_folder, write_json, write_whole
from apps.engine.core.registry import load_task
from apps.engine.data.samplers import Batch
from apps.engine.training.fit import begin
from apps.engine.training.loop import MetricAccumulator, update
from apps.engine.training.setup import TrainSetup, prepare
from apps.engine.training.state import TrainState, seed_update
from backbone.weights import locate_weights

PICTURE, NUMBERS = "lr.png", "lr.json"
CLEAR_FALL = 0.05  # of the first loss; a curve that falls less is mostly noise
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
    are already as long as they can be. (The steepest point is the other usual rule; with images by the
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


def stepper(setup: TrainSetup, state: TrainState) -> Callable[[float], float]:
    """An update on the next batch at a given rate of the head; the other rates keep their ratio to it."""
    batches = _readable_batches(setup, state)
    groups = state.train_step.optimizer.param_groups
    shares = [group["lr"] / setup.settings.lr for group in groups]
    steps = count()

    def step(lr: float) -> float:
        for group, share in zip(groups, shares, strict=True):
            group["lr"] = lr * share
        number, totals = next(steps), MetricAccumulator()
        seed_update(setup.settings.seed, 0, number, 0)
        update(state.train_step, [next(batches)], number, totals)
        return totals.means()["loss"]

    return step


def _readable_batches(setup: TrainSetup, state: TrainState) -> Iterator[Batch]:
    """Batches without end; damaged images are named, and a batch of nothing else is left out.

    Raises:
        ValueError: a whole epoch had no image that can be read.
    """
    for epoch in count():
        useful = 0
        for batch in state.train.epoch(epoch):
            setup.skipped.note(batch.bad)
            if batch.indices:
                useful += 1
                yield batch
        if not useful:
            raise ValueError(f"none of the {len(setup.photos)} training photos can be read")


def run_lr_finder(name: str, given: dict[str, Any], *, out: Path, console: Console) -> dict[str, Any]:
    """Try rising rates on the first updates of a training, and suggest one.

    Args:
        name: of the application.
        given: the settings that the user gave; ``lr`` is left aside.
        out: the folder for ``lr.png`` and ``lr.json``; made where it is missing.
        console: where words and progress go.

    Returns:
        ``{"app", "lr", "curve", "steps", "seconds"}``: the suggestion, None where the loss falls nowhere
        clearly, and where its curve is.

    Raises:
        ValueError: a setting does not fit, the head is fitted instead of trained, or the loss broke at once.
    """
    start = time.perf_counter()
    settings = load_task(name).Settings(**given)
    if settings.freeze and settings.epochs is None:
        raise ValueError("--freeze fits the head, which has no rate; give --epochs to train it instead")
    if settings.weights is not None:
        locate_weights(settings.weights)
    setup, task = prepare(name, settings, writable_folder(out), console, World().on(settings.device))
    state = begin(setup, task, None)
    setup.model.train()
    state.train_step.model = state.module
    state.train_step.before_update = lambda _step: None
    curve = find_lr(stepper(setup, state))
    plot_lr(curve, out / PICTURE)
    write_json(out / NUMBERS, {"lrs": curve.lrs, "losses": curve.losses, "suggestion": curve.suggestion})
    fall = 1 - min(curve.losses) / curve.losses[0]
    if fall < CLEAR_FALL:
        console.warn(
            f"the loss fell by {max(fall, 0):.1%} only, so the curve says little: keep the default rate, or "
            f"look at {out / PICTURE}"
        )
    else:
        console.say(f"--lr {curve.suggestion:.2g}: a tenth of where the loss is lowest; see {out / PICTURE}")
    return {
        "app": name, "lr": curve.suggestion if fall >= CLEAR_FALL else None, "curve": str(out / PICTURE),
        "steps": len(curve.lrs), "seconds": round(time.perf_counter() - start, 1),
    }
