"""A training under way: what changes from update to update, all of it kept in ``training.pt``."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.core import run_dir
from apps.engine.core.console import Screen
from apps.engine.training.early_stopping import Best
from apps.engine.training.loop import Learner, Tally
from apps.engine.training.optim.ema import Average
from apps.engine.training.optim.optimizers import make_optimizer, parameter_groups
from apps.engine.training.optim.schedule import Schedule, make_schedule
from apps.engine.training.setup import Job


@dataclass
class Course:
    """The moving parts of a training.

    Args:
        learner: network, terms and optimiser.
        schedule: of the rates.
        average: of the weights, if they are averaged.
        best: the best figure so far.
        steps: updates an epoch.
        epoch: epochs done.
        step: updates done in the epoch under way.
        tally: of those.
    """

    learner: Learner
    schedule: Schedule
    average: Average | None
    best: Best
    steps: int
    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    saved_at: float = field(default_factory=time.monotonic)
    told_full: bool = False


def start_course(job: Job, module: nn.Module) -> Course:
    """Optimiser, schedule and the rest, as the settings say.

    Args:
        job: the training.
        module: what learns: images, or cached features, to the head's output.
    """
    s, monitor = job.settings, job.settings.monitor or job.app.monitor
    higher = job.app.metric_table.higher_is_better(monitor)
    groups = parameter_groups(
        job.model, lr=s.lr, backbone_lr=s.backbone_lr, weight_decay=s.weight_decay, layer_decay=s.layer_decay
    )
    optimizer = make_optimizer(job.regroup(groups), name=s.optimizer, momentum=s.momentum)
    steps = -(-len(job.train) // s.accumulate)
    schedule = make_schedule(
        optimizer, name=s.schedule, steps_per_epoch=steps, epochs=s.epochs, warmup_epochs=s.warmup_epochs,
        min_lr_share=s.min_lr, step_epochs=s.step_epochs or s.epochs / 3, step_rate=s.step_rate,
        patience=s.plateau_epochs, higher_is_better=higher,
    )
    average = Average(job.model, s.ema) if s.ema else None
    learner = Learner(
        module, job.terms, optimizer,
        nominal=s.batch_size * s.accumulate, clip_norm=s.clip_norm, before_update=schedule.set_step,
        after_update=(lambda: average.update(job.model)) if average else (lambda: None),
        name_photos=job.name_photos, empty=job.empty_batch(), timer=job.timer, world=job.world, stop=job.stop,
        in_fp32=job.model.in_fp32 if _learns_in_bf16(job, module) else None, on_repeat=_say_once(job.screen),
    )
    return Course(learner, schedule, average, Best(monitor, higher_is_better=higher), steps)


def _learns_in_bf16(job: Job, module: nn.Module) -> bool:
    """Whether the module that learns holds a backbone that computes in bfloat16."""
    return job.model.backbone_dtype == torch.bfloat16 and job.backbone in module.modules()


def _say_once(screen: Screen) -> Callable[[str], None]:
    """Says the first time that an update is done again in float; ``metrics.jsonl`` counts them all."""
    names: list[str] = []

    def on_repeat(what: str) -> None:
        if not names:
            screen.warn(
                f"the {what} of an update is not finite in bf16: the update is done again in fp32, as later "
                "ones are; metrics.jsonl counts them as fp32_repeats"
            )
        names.append(what)

    return on_repeat


def shared_module(job: Job, module: nn.Module) -> nn.Module:
    """The module as the processes share it; made anew whenever other weights learn."""
    if job.world.size == 1 or not any(p.requires_grad for p in module.parameters()):
        return module
    devices = [job.world.device.index] if job.world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, forward_sync_buffers=False)


def seed_update(seed: int, epoch: int, step: int, rank: int) -> None:
    """Make what is random in an update hang on its place alone, so that it can be done again."""
    value = int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0])
    torch.manual_seed(value)
    np.random.seed(value)
    random.seed(value)


def save_course(job: Job, course: Course, *, must: bool) -> None:
    """Keep all that the next update needs; the first process writes, and never weights that are broken.

    Args:
        job: the training.
        course: where it is.
        must: raise where the disk is full; otherwise say so once and go on, the checkpoint before is whole.

    Raises:
        FloatingPointError: a weight is not finite.
        OSError: the disk is full, and it must.
    """
    course.saved_at = time.monotonic()
    if not all(bool(torch.isfinite(p).all()) for p in job.model.parameters()):
        raise FloatingPointError(
            f"weights are not finite after update {course.step} of epoch {course.epoch + 1}; lower --lr or "
            "--clip-norm; the last checkpoint is whole"
        )
    if not job.world.first:
        return
    state = {
        "version": run_dir.STATE_VERSION, "epoch": course.epoch, "step": course.step,
        "tally": course.tally.to_dict(), "model": job.model.state_dict(),
        "optimizer": course.learner.optimizer.state_dict(), "schedule": course.schedule.state_dict(),
        "average": course.average.state_dict() if course.average else None, "best": course.best.state_dict(),
        "settings": json.dumps(job.settings.to_dict()), "classes": list(job.classes),
        "photos": len(job.train.photos), "bad": list(job.bad), "world": job.world.size,
    }
    try:
        with job.timer("checkpoint"):
            run_dir.save_training_state(job.run, state)
            tell_progress(job, course, "running")
    except OSError as err:
        if must:
            raise OSError(
                f"cannot write {job.run / run_dir.TRAINING} ({err.strerror}); make room, then go on with "
                f"--resume --out {job.run} from the checkpoint before"
            ) from err
        if not course.told_full:
            job.screen.warn(
                f"cannot write a checkpoint into {job.run} ({err.strerror}): the one before stays, training "
                "goes on; make room before it ends"
            )
        course.told_full = True


def tell_progress(job: Job, course: Course, state: str) -> None:
    """Let ``runs`` see how far the training is."""
    if job.world.first:
        run_dir.write_progress(job.run, {
            "app": job.app.name, "state": state, "epoch": course.epoch, "epochs": job.settings.epochs,
            "step": course.step, "steps_per_epoch": course.steps, "backbone": job.info.name,
            "resolution": job.settings.resolution, "photos": len(job.photos), "pid": os.getpid(),
            "host": socket.gethostname(), "time": time.time(), "settings": job.settings.to_dict(),
        })


def restore_course(job: Job, course: Course, saved: dict[str, Any], *, any_world: bool) -> None:
    """Put a saved state into a job and its course.

    Raises:
        ValueError: photos, classes or the number of processes are others than when the run was started.
    """
    if saved["classes"] != list(job.classes):
        raise ValueError(
            f"the run was started with the classes {', '.join(saved['classes'][:5])}, ...; --data now has "
            f"{', '.join(job.classes[:5])}, ...; give the same --data, or another --out"
        )
    if saved["photos"] != len(job.train.photos):
        raise ValueError(
            f"the run was started with {saved['photos']} photos to learn from, --data now has "
            f"{len(job.train.photos)}; give the same --data, or another --out"
        )
    if saved["world"] != job.world.size and not any_world:
        raise ValueError(
            f"the run was started with {saved['world']} processes, now there are {job.world.size}; start as "
            "many, or give --any-world to go on all the same, equal within rounding only"
        )
    job.model.load_state_dict(saved["model"])
    course.learner.optimizer.load_state_dict(saved["optimizer"])
    course.schedule.load_state_dict(saved["schedule"])
    if course.average is not None:
        course.average.load_state_dict(saved["average"])
    course.best.load_state_dict(saved["best"])
    course.epoch, course.step = saved["epoch"], saved["step"]
    course.tally = type(course.tally)(**saved["tally"])
    job.bad[:] = saved["bad"]
