"""What others see of a training while it runs: the terminal, CSV, other tools; one process tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from apps.engine.core import run_dir
from apps.engine.core.live import TrainingView
from apps.engine.core.task import Trainable
from apps.engine.tracking.loggers import Watch, settings_text
from apps.engine.tracking.profiler import Profiler
from apps.engine.tracking.writers import writer_names
from apps.engine.training.loop import MetricAccumulator, rate
from apps.engine.training.setup import TrainSetup
from apps.engine.training.state import TrainState

LOGGED_EVERY = 10  # updates between two points in TensorBoard's curves of updates


class Watching:
    """Passes on what happens in a training.

    Args:
        state: the training under way.
        view: on the terminal.
        watch: the writers; None in all processes but the first.
        profiler: called with each update, if there is one.
    """

    def __init__(
        self, state: TrainState, view: TrainingView, watch: Watch | None, profiler: Profiler | None
    ) -> None:
        self.state, self.view, self.watch, self.profiler = state, view, watch, profiler
        self.seen: dict[str, float] = dict(state.totals.sums)
        self.photos = state.totals.photos

    def step(self, done: int, totals: MetricAccumulator) -> None:
        """An update is done; ``done`` of this epoch, ``totals`` of this epoch."""
        if done == 1:
            self.seen, self.photos = {}, 0
        count = max(totals.photos - self.photos, 1)
        terms = {name: (total - self.seen.get(name, 0.0)) / count for name, total in totals.sums.items()}
        self.seen, self.photos = dict(totals.sums), totals.photos
        number = self.state.epoch * self.state.steps + done
        self.view.step(number, rate(totals), terms)
        if self.profiler is not None:
            self.profiler.step()
        if self.watch is not None and number % LOGGED_EVERY == 0:
            rates = self.state.train_step.optimizer.param_groups
            speed = totals.photos / max(totals.seconds, 1e-9)
            self.watch.step(number, terms | {"lr": rates[-1]["lr"], "photos_per_second": speed})

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is evaluated and its row is in ``metrics.jsonl``."""
        self.view.epoch(row)
        if self.watch is not None:
            self.watch.epoch(row, step=row["epoch"] * self.state.steps)

    def flush(self) -> None:
        """Put on disk what was reported, before a checkpoint says that it was."""
        if self.watch is not None:
            self.watch.flush()


@contextmanager
def watching(setup: TrainSetup, state: TrainState, task: Trainable) -> Iterator[Watching]:
    """Watch a training from where it stands; what was reported of updates after that is taken back."""
    start = state.epoch * state.steps + state.step
    evaluating_again = state.step == state.steps  # its point of the epoch may stand there already
    s = setup.settings
    writers = writer_names(s.log)
    watch = Watch(setup.run, writers=writers) if setup.world.is_main else None
    for complaint in watch.resume(start - evaluating_again, state.epoch) if watch else ():
        setup.console.warn(complaint)
    view = setup.console.training(
        setup.settings.epochs, state.steps, start, metric=f"val/{state.best.metric}",
        history=run_dir.read_metrics(setup.run), table=task.metrics,
    )
    wanted = setup.settings.profile and setup.world.is_main
    profiler = Profiler(setup.run, setup.model, setup.timer) if wanted else None
    try:
        with view as shown, profiler or nullcontext():
            yield Watching(state, shown, watch, profiler)
        if watch is not None:
            watch.end({}, texts={"settings": settings_text(setup.settings.to_dict())})
    finally:
        if watch is not None:
            watch.close()
