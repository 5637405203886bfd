"""Training a job: the head alone on cached features, or every layer, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from apps.engine.core import run_dir
from apps.engine.data.collate import all_finite
from apps.engine.data.loader import reading_deaths
from apps.engine.inference.tta import tta_logits
from apps.engine.tracking.monitor import Watching, watching
from apps.engine.training.frozen.cached_features import fit_head, pools, with_cached_features
from apps.engine.training.loop import Tally, rate, run_model, train_epoch
from apps.engine.training.optim.layer_decay import apply_unfreezing, learning_layers, unfrozen_at
from apps.engine.training.setup import Job
from apps.engine.training.signals import Stopped
from apps.engine.training.state import (
    Course,
    restore_course,
    save_course,
    seed_update,
    shared_module,
    start_course,
    tell_progress,
)

Begin = Callable[..., tuple[Course, nn.Module]]


class OneHead(nn.Module):
    """Images to the output of one head, as a module that processes can share."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, images: Any) -> Any:
        """The head's output."""
        return self.model(images, [self.name])[self.name]


def train(
    job: Job, saved: dict[str, Any] | None, *, stop_after: int | None = None, any_world: bool = False,
    begin: Begin | None = None,
) -> tuple[Course, bool]:
    """Run the epochs that are left; returns where it stands and whether that is the end.

    Args:
        job: the training.
        saved: the state to go on from.
        stop_after: end after this many epochs more.
        any_world: go on with another number of processes.
        begin: makes the course and the module that learns; :func:`prepare_course` by default.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        FloatingPointError: the loss was not finite.
    """
    s = job.settings
    course, module = (begin or prepare_course)(job, saved, any_world=any_world)
    last = s.epochs if stop_after is None else min(s.epochs, course.epoch + stop_after)
    if course.epoch >= s.epochs:
        job.screen.say(f"all {course.epoch} epochs are done: judging and reporting again")
    with job.stop.listening(), reading_deaths(), watching(job, course) as watch:
        save_course(job, course, must=True)
        try:
            while course.epoch < last and not course.best.exhausted(s.patience):
                one_epoch(job, course, module, watch)
                end_epoch(job, course, watch)
        except FloatingPointError:
            tell_progress(job, course, "failed")
            raise
        except Stopped as err:
            save_course(job, course, must=True)
            tell_progress(job, course, "stopped")
            raise Stopped(err.code - 128, _where(job, course)) from err
    if course.epoch < s.epochs and not course.best.exhausted(s.patience):
        tell_progress(job, course, "stopped")
        return course, False
    settle(job, course)
    tell_progress(job, course, "running")  # until it is judged
    return course, True


def _where(job: Job, course: Course) -> str:
    place = f"update {course.step} of {course.steps} of epoch {course.epoch + 1} of {job.settings.epochs}"
    return f"stopped after {place}; everything is kept: --resume --out {job.run} goes on"


def prepare_course(
    job: Job, saved: dict[str, Any] | None, *, any_world: bool = False
) -> tuple[Course, nn.Module]:
    """The head's start, the course, and the module that learns, all as they were saved where they were."""
    s = job.settings
    if s.freeze:
        job.backbone.freeze()
    elif saved is None and s.weights is not None and pools(job):
        fit_head(job)  # a head that fits first: a random one would shake good features
        job.backbone.unfreeze()
    module: nn.Module = OneHead(job.model, job.app.name)
    if s.freeze and s.cached_features:
        job.train, job.val_features = with_cached_features(job)
        module = job.model.heads[job.app.name]
    course = start_course(job, module)
    if saved is not None:
        restore_course(job, course, saved, any_world=any_world)
    job.world.share_state(job.model)
    return course, module


def one_epoch(job: Job, course: Course, module: nn.Module, watch: Watching) -> None:
    """The updates of an epoch that are left; everything random in one hangs on its place alone."""
    s = job.settings
    job.model.train()
    if s.unfreeze_every is not None:
        stages = learning_layers(job.backbone, coarse=True)
        apply_unfreezing(job.backbone, unfrozen_at(course.epoch, every=s.unfreeze_every, stages=stages))
    course.learner.model = shared_module(job, module)

    def on_step(done: int, tally: Tally) -> None:
        course.step, course.tally = done, tally
        watch.step(done, tally)
        if time.monotonic() - course.saved_at >= s.save_every:
            save_course(job, course, must=False)

    train_epoch(
        course.learner, job.train.epoch(course.epoch, start=course.step * s.accumulate),
        accumulate=s.accumulate, tally=course.tally, done=course.step,
        epoch_start=course.epoch * course.steps, on_step=on_step,
        seed=lambda done: seed_update(s.seed, course.epoch, done, job.world.rank),
    )


def end_epoch(job: Job, course: Course, watch: Watching) -> None:
    """Judge what the epoch gave, write its row, and keep the state of its end."""
    save_course(job, course, must=False)  # judging can be done again
    for bad in job.world.gather(course.tally.bad):
        job.note_bad(bad)
    with judged_weights(job, course):
        predictions = predict_val(job) if job.judge is None else job.judge()
        figures = job.app.metrics(predictions)
        better = course.best.improved(figures, course.epoch + 1)
        if better and keeps_best(job.settings) and job.world.first:
            keep_best(job)
    watched: float | None = figures[course.best.metric]
    course.schedule.epoch_end(float("nan") if watched is None else watched)
    for note in job.reading.cache.notes() if job.reading.cache else ():
        job.screen.warn(note)
    tally = course.tally
    row = {
        "epoch": course.epoch + 1, **{f"train/{k}": v for k, v in tally.means().items()},
        **job.app.row(figures), "lr": course.learner.optimizer.param_groups[-1]["lr"],
        "seconds": round(tally.seconds, 2), "photos_per_second": round(tally.photos / tally.seconds, 2),
        **({} if course.learner.in_fp32 is None else {"fp32_repeats": tally.fp32_repeats}),
    }
    if job.world.first:
        run_dir.append_metrics(job.run, row)
        watch.epoch(row)
    course.epoch, course.step, course.tally = course.epoch + 1, 0, type(tally)()
    save_course(job, course, must=False)


def keeps_best(settings: Any) -> bool:
    """Whether the best epoch's weights are kept, not the last one's."""
    return settings.keep == "best" or (settings.keep is None and settings.patience is not None)


def keep_best(job: Job) -> None:
    """Keep the weights under judgement as the best ones; the state of before is whole if that fails."""
    try:
        run_dir.save_best(job.run, job.model.state_dict())
    except OSError as err:
        raise OSError(
            f"cannot write {job.run / run_dir.BEST} ({err.strerror}); make room, then go on with --resume "
            f"--out {job.run}"
        ) from err


def judged_weights(job: Job, course: Course) -> AbstractContextManager[Any]:
    """The averaged weights in place of the raw ones, where there are some."""
    return course.average.swapped(job.model) if course.average else nullcontext()


def settle(job: Job, course: Course) -> None:
    """Leave the weights in the model that the run is to keep: the best epoch's, the average, or the last."""
    if keeps_best(job.settings):
        if job.world.first:
            run_dir.load_best(job.run, job.model)
        job.screen.say(f"kept: epoch {course.best.epoch}, {course.best.metric} {course.best.value:.4f}")
    elif course.average is not None:
        course.average.copy_to(job.model)
    job.world.share_state(job.model)


def predict_val(job: Job) -> Any:
    """The model's answers on the validation photos, averaged over views where the settings say so."""
    tta = getattr(job.settings, "tta", "none")
    job.model.eval()
    known = job.val_features is not None and tta == "none"
    photos = job.val_features if known else job.val
    network: Any = job.model.heads[job.app.name] if known else job.judging_forward()

    head = job.model.heads[job.app.name]

    def forward(images: Tensor) -> Any:
        return job.app.reduce(head, tta_logits(network, images, tta))

    with job.screen.track("validation", len(photos)) as update, job.timer("validation"):
        outputs, targets, indices, bad = run_model(
            forward, photos.epoch(0), world=job.world, stop=job.stop,
            on_step=lambda n, tally: update(n, rate(tally)),
        )
    job.note_bad(bad)
    if not all_finite(outputs):
        raise FloatingPointError(
            "the network's answers are not finite: lower --lr or --clip-norm, and train into another --out"
        )
    paths = tuple(str(job.val.photos.photos[index].path) for index in indices)
    return job.app.predictions(outputs, targets, paths, job.classes)
