"""A training under way: what changes from update to update, all of it kept in ``training.pt``."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.core import run_dir
from apps.engine.core.console import Console
from apps.engine.core.process import this_machine
from apps.engine.core.settings import shareable
from apps.engine.core.task import Evaluation, Trainable
from apps.engine.training.early_stopping import EarlyStopping
from apps.engine.training.loop import MetricAccumulator, TrainStep
from apps.engine.training.optim.ema import EMA
from apps.engine.training.optim.optimizers import make_optimizer, parameter_groups
from apps.engine.training.optim.schedule import Schedule, make_schedule
from apps.engine.training.setup import BatchSource, TrainSetup
from datasets.outside import one_line

Groups = list[dict[str, Any]]


@dataclass
class TrainState:
    """All that changes in a training; :func:`save_state` keeps what cannot be made anew.

    Args:
        train_step: network, losses and optimiser.
        schedule: of the rates.
        ema: the averaged weights, if they are averaged.
        best: the best figure so far.
        steps: updates an epoch.
        module: what learns: images, or cached features, to the head's output.
        train: the batches that it learns from.
        evaluate: computes the evaluation on the validation images with the weights as they are.
        epoch: epochs done.
        step: updates done in the epoch under way.
        totals: of those.
    """

    train_step: TrainStep
    schedule: Schedule
    ema: EMA | None
    best: EarlyStopping
    steps: int
    module: nn.Module
    train: BatchSource
    evaluate: Callable[[], Evaluation]
    epoch: int = 0
    step: int = 0
    totals: MetricAccumulator = field(default_factory=MetricAccumulator)
    saved_at: float = field(default_factory=time.monotonic)
    warned_full: bool = False


def start_state(
    setup: TrainSetup, task: Trainable, module: nn.Module, *, train: BatchSource,
    evaluate: Callable[[], Evaluation], regroup: Callable[[Groups], Groups] = lambda groups: groups,
) -> TrainState:
    """Optimiser, schedule and the rest, as the settings say.

    Args:
        setup: the training.
        task: what is learned.
        module: what learns: images, or cached features, to the head's output.
        train: the batches that it learns from.
        evaluate: computes the evaluation on the validation images.
        regroup: changes the optimiser's groups.
    """
    s, monitor = setup.settings, setup.settings.monitor or task.primary_metric.name
    higher = task.metrics.higher_is_better(monitor)
    groups = parameter_groups(
        setup.model, lr=s.lr, backbone_lr=s.backbone_lr, weight_decay=s.weight_decay,
        layer_decay=s.layer_decay,
    )
    optimizer = make_optimizer(regroup(groups), name=s.optimizer, momentum=s.momentum)
    steps = -(-len(train) // s.accumulate)
    schedule = make_schedule(
        optimizer, name=s.schedule, steps_per_epoch=steps, epochs=s.epochs, warmup_epochs=s.warmup_epochs,
        min_lr_share=s.min_lr, step_epochs=s.step_epochs or s.epochs / 3, step_rate=s.step_rate,
        patience=s.plateau_epochs, higher_is_better=higher,
    )
    ema = EMA(setup.model, s.ema) if s.ema else None
    train_step = TrainStep(
        module, setup.losses, optimizer,
        nominal=s.batch_size * s.accumulate, clip_norm=s.clip_norm, before_update=schedule.set_step,
        after_update=(lambda: ema.update(setup.model)) if ema else (lambda: None),
        name_photos=setup.name_photos, empty=train.empty(s.train_resolution), timer=setup.timer,
        world=setup.world, signals=setup.signals,
        in_fp32=setup.model.in_fp32 if _learns_in_bf16(setup, module) else None,
        on_repeat=_say_once(setup.console),
    )
    return TrainState(
        train_step, schedule, ema, EarlyStopping(monitor, higher_is_better=higher), steps, module, train,
        evaluate,
    )


def _learns_in_bf16(setup: TrainSetup, module: nn.Module) -> bool:
    """Whether the module that learns holds a backbone that computes in bfloat16."""
    return setup.model.backbone_dtype == torch.bfloat16 and setup.backbone in module.modules()


def _say_once(console: Console) -> Callable[[str], None]:
    """Says the first time that an update is done again in float; ``metrics.jsonl`` counts them all."""
    names: list[str] = []

    def on_repeat(what: str) -> None:
        if not names:
            console.warn(
                f"the {what} of an update is not finite in bf16: the update is done again in fp32, as later "
                "ones are; metrics.jsonl counts them as fp32_repeats"
            )
        names.append(what)

    return on_repeat


def shared_module(setup: TrainSetup, module: nn.Module) -> nn.Module:
    """The module as the processes share it; made anew whenever other weights learn."""
    if setup.world.size == 1 or not any(p.requires_grad for p in module.parameters()):
        return module
    devices = [setup.world.device.index] if setup.world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, forward_sync_buffers=False)


def seed_update(seed: int, epoch: int, step: int, rank: int) -> None:
    """Make what is random in an update depend on its place alone, so that it can be done again."""
    value = int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0])
    torch.manual_seed(value)
    np.random.seed(value)
    random.seed(value)


def save_state(setup: TrainSetup, state: TrainState, *, must: bool) -> None:
    """Keep all that the next update needs; the first process writes, and never weights that are broken.

    Args:
        setup: the training.
        state: where it is.
        must: raise where the disk is full; otherwise say so once and go on, the checkpoint before is whole.

    Raises:
        FloatingPointError: a weight is not finite.
        OSError: the disk is full, and it must.
    """
    state.saved_at = time.monotonic()
    if not all(bool(torch.isfinite(p).all()) for p in setup.model.parameters()):
        raise FloatingPointError(
            f"weights are not finite after update {state.step} of epoch {state.epoch + 1}; lower --lr or "
            "--clip-norm; the last checkpoint is whole"
        )
    if not setup.world.is_main:
        return
    saved = {
        "version": run_dir.STATE_VERSION, "epoch": state.epoch, "step": state.step,
        "totals": state.totals.to_dict(), "model": setup.model.state_dict(),
        "optimizer": state.train_step.optimizer.state_dict(), "schedule": state.schedule.state_dict(),
        "average": state.ema.state_dict() if state.ema else None, "best": state.best.state_dict(),
        "settings": json.dumps(setup.settings.to_dict(), allow_nan=False), "classes": list(setup.classes),
        "photos": len(setup.train.photos), "bad": list(setup.skipped.reasons), "world": setup.world.size,
    }
    saved["bad"] = shareable(saved["bad"])
    try:
        with setup.timer("checkpoint"):
            run_dir.save_training_state(setup.run, saved)
            tell_progress(setup, state, "running")
    except OSError as err:
        if must:
            raise OSError(
                f"cannot write {setup.run / run_dir.TRAINING} ({err.strerror}); make room, then go on with "
                f"--resume --out {setup.run} from the checkpoint before"
            ) from err
        if not state.warned_full:
            setup.console.warn(
                f"cannot write a checkpoint into {setup.run} ({err.strerror}): the one before stays, "
                "training goes on; make room before it ends"
            )
        state.warned_full = True


def tell_progress(setup: TrainSetup, state: TrainState, phase: str) -> None:
    """Let ``runs`` see how far the training is."""
    if setup.world.is_main:
        run_dir.write_progress(setup.run, {
            "app": setup.name, "state": phase, "epoch": state.epoch, "epochs": setup.settings.epochs,
            "step": state.step, "steps_per_epoch": state.steps, "backbone": setup.info.name,
            "resolution": setup.settings.resolution, "photos": len(setup.photos), "pid": os.getpid(),
            "machine": this_machine(), "time": time.time(), "settings": setup.settings.to_dict(),
        })


def restore_state(setup: TrainSetup, state: TrainState, saved: dict[str, Any], *, any_world: bool) -> None:
    """Put a saved state into a setup and its state.

    Raises:
        ValueError: images, classes or the number of processes are others than when the run was started.
    """
    if saved["classes"] != list(setup.classes):
        raise ValueError(
            f"the run was started with the classes {', '.join(saved['classes'][:5])}, ...; --data now has "
            f"{', '.join(setup.classes[:5])}, ...; give the same --data, or another --out"
        )
    if saved["photos"] != len(setup.train.photos):
        raise ValueError(
            f"the run was started with {saved['photos']} training photos, --data now has "
            f"{len(setup.train.photos)}; give the same --data, or another --out"
        )
    if saved["world"] != setup.world.size and not any_world:
        raise ValueError(
            f"the run was started with {saved['world']} processes, now there are {setup.world.size}; start "
            "as many, or give --any-world to go on all the same, equal within rounding only"
        )
    path = setup.run / run_dir.TRAINING
    with one_line(path, "train into another --out", "is damaged, so this run cannot go on"):
        setup.model.load_state_dict(saved["model"])
        state.train_step.optimizer.load_state_dict(saved["optimizer"])
        state.schedule.load_state_dict(saved["schedule"])
        if state.ema is not None:
            state.ema.load_state_dict(saved["average"])
        state.best.load_state_dict(saved["best"])
        state.epoch, state.step = saved["epoch"], saved["step"]
        state.totals = type(state.totals)(**saved["totals"])
        setup.skipped.reasons[:] = saved["bad"]
