"""``finetune --find-lr``: a learning rate by trial, before a training is begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from apps.engine.core.console import Screen
from apps.engine.core.distributed import World
from apps.engine.core.files import writable_folder, write_json
from apps.engine.core.registry import load_app
from apps.engine.data.samplers import Batch
from apps.engine.training.fit import prepare_course
from apps.engine.training.loop import Tally, update
from apps.engine.training.lr_finder import find_lr, plot_lr
from apps.engine.training.setup import Job, prepare
from apps.engine.training.state import Course, seed_update
from backbone.weights import locate_weights

PICTURE, NUMBERS = "lr.png", "lr.json"
CLEAR_FALL = 0.05  # of the first loss; a curve that falls less is mostly noise


def stepper(job: Job, course: Course) -> Callable[[float], float]:
    """An update on the next batch at a given rate of the head; the other rates keep their ratio to it."""
    batches = _readable_batches(job)
    groups = course.learner.optimizer.param_groups
    shares = [group["lr"] / job.settings.lr for group in groups]
    steps = count()

    def step(lr: float) -> float:
        for group, share in zip(groups, shares, strict=True):
            group["lr"] = lr * share
        number, tally = next(steps), Tally()
        seed_update(job.settings.seed, 0, number, 0)
        update(course.learner, [next(batches)], number, tally)
        return tally.means()["loss"]

    return step


def _readable_batches(job: Job) -> Iterator[Batch]:
    """Batches without end; damaged photos are named, and a batch of nothing else is left out.

    Raises:
        ValueError: a whole epoch had no photo that can be read.
    """
    for epoch in count():
        useful = 0
        for batch in job.train.epoch(epoch):
            job.note_bad(batch.bad)
            if batch.indices:
                useful += 1
                yield batch
        if not useful:
            raise ValueError(f"none of the {len(job.photos)} photos to learn from can be read")


def find_rate(name: str, given: dict[str, Any], *, out: Path, screen: Screen) -> dict[str, Any]:
    """Try rising rates on the first updates of a training, and suggest one.

    Args:
        name: of the application.
        given: the settings that the user gave; ``lr`` is left aside.
        out: the folder for ``lr.png`` and ``lr.json``; made where it is missing.
        screen: where words and progress go.

    Returns:
        ``{"app", "lr", "curve", "steps", "seconds"}``: the suggestion, None where the loss falls nowhere
        clearly, and where its curve is.

    Raises:
        ValueError: a setting does not fit, the head is fitted instead of taught, or the loss broke at once.
    """
    start = time.perf_counter()
    settings = load_app(name).Settings(**given)
    if settings.freeze and settings.epochs is None:
        raise ValueError("--freeze fits the head, which has no rate; give --epochs to teach it instead")
    if settings.weights is not None:
        locate_weights(settings.weights)
    job = prepare(name, settings, writable_folder(out), screen, World())
    course, module = prepare_course(job, None)
    job.model.train()
    course.learner.model = module
    course.learner.before_update = lambda _step: None
    curve = find_lr(stepper(job, course))
    plot_lr(curve, out / PICTURE)
    write_json(out / NUMBERS, {"lrs": curve.lrs, "losses": curve.losses, "suggestion": curve.suggestion})
    fall = 1 - min(curve.losses) / curve.losses[0]
    if fall < CLEAR_FALL:
        screen.warn(
            f"the loss fell by {max(fall, 0):.1%} only, so the curve says little: keep the default rate, or "
            f"look at {out / PICTURE}"
        )
    else:
        screen.say(f"--lr {curve.suggestion:.2g}: a tenth of where the loss is lowest; see {out / PICTURE}")
    return {
        "app": name, "lr": curve.suggestion if fall >= CLEAR_FALL else None, "curve": str(out / PICTURE),
        "steps": len(curve.lrs), "seconds": round(time.perf_counter() - start, 1),
    }
