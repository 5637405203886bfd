"""What others see of a training while it runs: the terminal, TensorBoard, CSV; one process tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from apps.engine.core import run_dir
from apps.engine.core.live import TrainingView
from apps.engine.tracking.loggers import Watch, settings_text
from apps.engine.tracking.profiler import Profiler
from apps.engine.training.loop import Tally, rate
from apps.engine.training.setup import Job
from apps.engine.training.state import Course

TOLD_EVERY = 10  # updates between two points in TensorBoard's curves of updates


class Watching:
    """Passes on what happens in a training.

    Args:
        course: the training under way.
        view: on the terminal.
        watch: the writers; None in all processes but the first.
        profiler: told of each update, if there is one.
    """

    def __init__(
        self, course: Course, view: TrainingView, watch: Watch | None, profiler: Profiler | None
    ) -> None:
        self.course, self.view, self.watch, self.profiler = course, view, watch, profiler
        self.seen: dict[str, float] = dict(course.tally.sums)
        self.photos = course.tally.photos

    def step(self, done: int, tally: Tally) -> None:
        """An update is done; ``done`` of this epoch, ``tally`` of this epoch."""
        if done == 1:
            self.seen, self.photos = {}, 0
        count = max(tally.photos - self.photos, 1)
        terms = {name: (total - self.seen.get(name, 0.0)) / count for name, total in tally.sums.items()}
        self.seen, self.photos = dict(tally.sums), tally.photos
        number = self.course.epoch * self.course.steps + done
        self.view.step(number, rate(tally), terms)
        if self.profiler is not None:
            self.profiler.step()
        if self.watch is not None and number % TOLD_EVERY == 0:
            rates = self.course.learner.optimizer.param_groups
            speed = tally.photos / max(tally.seconds, 1e-9)
            self.watch.step(number, terms | {"lr": rates[-1]["lr"], "photos_per_second": speed})

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is judged and its row is in ``metrics.jsonl``."""
        self.view.epoch(row)
        if self.watch is not None:
            self.watch.epoch(row, step=row["epoch"] * self.course.steps)

    def flush(self) -> None:
        """Put on disk what was told, before a checkpoint says that it was."""
        if self.watch is not None:
            self.watch.flush()


@contextmanager
def watching(job: Job, course: Course) -> Iterator[Watching]:
    """Watch a training from where it stands; what was told of updates after that is taken back."""
    start = course.epoch * course.steps + course.step
    judging_again = course.step == course.steps  # its point of the epoch may stand there already
    watch = Watch(job.run, tensorboard=job.settings.tensorboard) if job.world.first else None
    for complaint in watch.resume(start - judging_again, course.epoch) if watch else ():
        job.screen.warn(complaint)
    view = job.screen.training(
        job.settings.epochs, course.steps, start, metric=f"val/{course.best.metric}",
        history=run_dir.read_metrics(job.run), table=job.app.metric_table,
    )
    wanted = job.settings.profile and job.world.first
    profiler = Profiler(job.run, job.model, job.timer) if wanted else None
    try:
        with view as shown, profiler or nullcontext():
            yield Watching(course, shown, watch, profiler)
        if watch is not None:
            watch.end({}, texts={"settings": settings_text(job.settings.to_dict())})
    finally:
        if watch is not None:
            watch.close()
