"""The loop: an update is a function, an epoch is a function that calls it, a run one that calls that."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.core.distributed import World
from apps.engine.core.task import Evaluator
from apps.engine.data.collate import mapped
from apps.engine.data.loader import BadImage, Batch
from apps.engine.training.attempt import Attempt, Before, Broken
from apps.engine.training.signals import SignalHandler, Stopped


@dataclass
class MetricAccumulator:
    """Sums over an epoch: counted once and divided once, over all processes.

    ``fp32_repeats`` counts the updates that were not finite in bfloat16 and were done again in float.
    """

    photos: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    bad: list[BadImage] = field(default_factory=list)
    seconds: float = 0.0
    fp32_repeats: int = 0

    def add(self, count: int, sums: dict[str, float]) -> None:
        """Add ``count`` images and each term's sum over them."""
        self.photos += count
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Each term's mean over the images."""
        return {name: total / max(self.photos, 1) for name, total in self.sums.items()}

    def to_dict(self) -> dict[str, Any]:
        """What an epoch that goes on later needs; bad images are named by the process that met them."""
        return {
            "photos": self.photos, "sums": dict(self.sums), "seconds": self.seconds,
            "fp32_repeats": self.fp32_repeats,
        }


StepHook = Callable[[int, MetricAccumulator], None]
Terms = dict[str, Tensor]


def rate(totals: MetricAccumulator) -> str:
    """How fast it goes, and the loss if there is one, in a few words."""
    words = f"{totals.photos / max(totals.seconds, 1e-9):.0f} photos/s"
    loss = totals.means().get("loss")
    return words if loss is None else f"{words}, loss {loss:.3f}"


@dataclass
class TrainStep:
    """What an update needs and changes.

    Args:
        model: what learns; its output is the head's.
        terms: (images, model, targets) -> named scalar terms, means over the images; their sum is lowered.
        optimizer: of the model's parameters.
        nominal: images of a full update, over all processes; gradients are divided by what was there.
        clip_norm: bound on the norm of all gradients together.
        before_update: called with the number of updates done in all, for the schedule.
        after_update: called after each, for averaged weights.
        name_photos: dataset indices -> words, for the message on a loss that is not finite.
        empty: a batch without images in the right shapes, for a process that has none in a batch.
        timer: ``timer("forward")`` is a context that counts the time spent in it.
        in_fp32: a context in which the whole model computes in float; None where it does so anyway.
        on_repeat: called with "loss" or "gradient" where that was not finite and is computed again in float.
    """

    model: nn.Module
    terms: Callable[[Tensor, nn.Module, Tensor], Terms]
    optimizer: torch.optim.Optimizer
    nominal: int
    clip_norm: float = 1.0
    before_update: Callable[[int], None] = lambda _step: None
    after_update: Callable[[], None] = lambda: None
    name_photos: Callable[[Sequence[int]], str] = str
    empty: Batch | None = None
    timer: Callable[[str], AbstractContextManager[Any]] = lambda _stage: nullcontext()
    world: World = field(default_factory=World)
    signals: SignalHandler = field(default_factory=SignalHandler)
    in_fp32: Callable[[], AbstractContextManager[Any]] | None = None
    on_repeat: Callable[[str], None] = lambda _what: None


def train_epoch(
    train_step: TrainStep, batches: Iterable[Batch], *, accumulate: int = 1,
    totals: MetricAccumulator | None = None, done: int = 0, epoch_start: int = 0,
    seed: Callable[[int], None] = lambda _step: None,
    on_step: StepHook = lambda _done, _totals: None,
) -> MetricAccumulator:
    """Train the model for one pass over the batches, or the rest of one.

    Args:
        train_step: put its model in training mode first.
        batches: what to learn from; images that could not be read are counted, not learned.
        accumulate: batches an update.
        totals: of the updates of this epoch that were done before.
        done: how many those were.
        epoch_start: updates done before this epoch.
        seed: called before each update with the number of those done in this epoch, so that what is
            random in one depends on its place alone.
        on_step: called after each update with the number done in this epoch and the totals.

    Raises:
        FloatingPointError: a loss term or the gradient is not finite; the message names terms and images.
        Stopped: a signal asked for it; every update that ``on_step`` was called for is done.
    """
    totals = totals or MetricAccumulator()
    before, start = totals.seconds, time.perf_counter()
    for group in _grouped(batches, accumulate, train_step.timer):
        seed(done)
        stopping = update(train_step, group, epoch_start + done, totals)
        done += 1
        totals.seconds = before + time.perf_counter() - start
        on_step(done, totals)
        if stopping:
            number = train_step.signals.number or int(stopping)
            raise Stopped(number, f"stopped after update {done} of the epoch")
    return totals


def _grouped(batches: Iterable[Batch], size: int, timer: Any) -> Iterator[list[Batch]]:
    """Lists of ``size`` batches, the last one shorter; waiting for them is timed."""
    source, group = iter(batches), list[Batch]()
    while True:
        with timer("data"):
            batch = next(source, None)
        if batch is not None:
            group.append(batch)
        if len(group) == size or (batch is None and group):
            yield group
            group = []
        if batch is None:
            return


def update(train_step: TrainStep, batches: Sequence[Batch], step: int, totals: MetricAccumulator) -> float:
    """One update from the gradients of one or several batches; returns the signal that asks to stop, or 0.

    Several processes share an update: each brings its part of every batch, and the gradient is that of
    the mean over all images. One that is not finite in bfloat16 is done again in float from the start.
    """
    for batch in batches:
        totals.bad.extend(batch.bad)
    before = None if train_step.in_fp32 is None else Before(train_step.model, train_step.world.device)
    attempt = _try(train_step, batches, step)
    if attempt.broken is not None and before is not None and train_step.in_fp32 is not None:
        before.restore()
        totals.fp32_repeats += 1
        train_step.on_repeat(attempt.broken.what)
        with train_step.in_fp32():
            attempt = _try(train_step, batches, step)
    if attempt.broken is not None:
        _refuse(train_step, attempt.broken)
    for count, sums in attempt.sums:
        totals.add(count, sums)
    return attempt.stopping


def _try(train_step: TrainStep, batches: Sequence[Batch], step: int) -> Attempt:
    """An update that is left out where the loss or the gradient is not finite, in all processes alike."""
    parameters = [p for group in train_step.optimizer.param_groups for p in group["params"]]
    train_step.optimizer.zero_grad(set_to_none=True)
    attempt = Attempt()
    for number, batch in enumerate(batches, start=1):
        with _quiet(train_step.model, talk=number == len(batches)):
            _gradients(train_step, batch, attempt)
        if attempt.broken is not None:
            return attempt
    if not attempt.photos:
        return attempt
    with train_step.timer("optimizer"):
        if attempt.photos != train_step.nominal:
            scale = train_step.nominal / attempt.photos
            torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], scale)
        norm = nn.utils.clip_grad_norm_(parameters, train_step.clip_norm)
        if not math.isfinite(norm):  # all processes see it: they have exchanged gradients
            indices = [index for batch in batches for index in batch.indices]
            attempt.broken = Broken("gradient", indices, {"loss": attempt.mean_loss})
            return attempt
        train_step.before_update(step)
        train_step.optimizer.step()
        train_step.after_update()
    return attempt


def _quiet(model: nn.Module, *, talk: bool) -> AbstractContextManager[Any]:
    """Processes exchange gradients once an update, with its last batch."""
    if isinstance(model, DistributedDataParallel) and not talk:
        quiet: AbstractContextManager[Any] = model.no_sync()
        return quiet
    return nullcontext()


def _gradients(train_step: TrainStep, batch: Batch, attempt: Attempt) -> None:
    """Add a batch; where others have images in it, a process that has none takes part with zeros."""
    world, count = train_step.world, len(batch.indices)
    if not count and world.size == 1:
        attempt.stopping = max(attempt.stopping, train_step.signals.number)
        return
    batch = batch if count or train_step.empty is None else train_step.empty
    with train_step.timer("forward"):
        images, targets = batch.on(world.device)
        terms = train_step.terms(images, train_step.model, targets)
        if not count:  # a mean over nothing is not a number, and its gradient is zero
            terms = {name: torch.nan_to_num(term) for name, term in terms.items()}
        loss = torch.stack(list(terms.values())).sum()
    means = {name: term.item() for name, term in terms.items()}
    values = {name: mean * count for name, mean in means.items()} | {"loss": loss.item() * count}
    with train_step.timer("exchange"):
        photos, asked, *sums = world.all_reduce([count, train_step.signals.number, *values.values()])
    attempt.stopping = max(attempt.stopping, asked)
    if not all(math.isfinite(value) for value in sums):
        here = not all(map(math.isfinite, means.values()))
        attempt.broken = Broken("loss", batch.indices, means, here)
        return
    with train_step.timer("backward"):
        (loss * (count * world.size / train_step.nominal)).backward()  # type: ignore[no-untyped-call]
    attempt.photos += photos
    attempt.sums.append((round(photos), dict(zip(values, sums, strict=True))))


def _refuse(train_step: TrainStep, broken: Broken) -> None:
    """Raise, in all processes, with the terms and files of the first one where something is not finite."""
    terms = ", ".join(f"{name} is {value:g}" for name, value in broken.terms.items())
    mine = (
        f"({terms}); lower --lr or --clip-norm, or look at the photos of the batch, "
        f"{train_step.name_photos(broken.indices)}; the last checkpoint is whole"
    ) if broken.here else None
    text = next((text for text in train_step.world.gather(mine) if text), f"({terms})")
    raise FloatingPointError(f"the {broken.what} is not finite {text}")


@torch.inference_mode()
def run_model(
    model: Callable[[Tensor], Any], batches: Iterable[Batch], evaluator: Evaluator[Any, Any, Any], *,
    world: World | None = None, signals: SignalHandler | None = None,
    on_step: StepHook = lambda _done, _totals: None,
) -> list[BadImage]:
    """Give outputs and targets of batches to an evaluator; returns the images that could not be read.

    Args:
        model: images -> output, a tensor (B, ...) or a dict, tuple or list of them, images first; put it in
            evaluation mode first.
        batches: this process's part, in any order.
        evaluator: gets each batch, and at the end what the other processes' got.
        world: the processes that share the work.
        signals: looked at after each batch.
        on_step: called after each batch.

    Raises:
        ValueError: no image could be read.
        Stopped: a signal asked for it.
    """
    world = world or World()
    totals, start = MetricAccumulator(), time.perf_counter()
    for number, batch in enumerate(batches, start=1):
        totals.bad.extend(batch.bad)
        if batch.indices:
            outputs = mapped(_kept, model(batch.images.to(world.device, non_blocking=True)))
            evaluator.update(outputs, batch.targets, batch.indices)
            totals.add(len(batch.indices), {})
        totals.seconds = time.perf_counter() - start
        on_step(number, totals)
        if signals is not None and signals.number:
            raise Stopped(signals.number, "stopped while evaluating")
    parts = world.gather((totals.photos, totals.bad))
    bad = [their for _, theirs in parts for their in theirs]
    if not any(count for count, _ in parts):
        first = bad[0].reason if bad else "there are none"
        raise ValueError(f"none of the {len(bad)} photos could be read; the first: {first}")
    evaluator.share(world)
    return bad


def _kept(output: Tensor) -> Tensor:
    """An output in full precision and in main memory; whole numbers stay what they are."""
    return (output.float() if output.is_floating_point() else output).cpu()
