"""A training in the making: data, weights and model, with every setting resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from apps.engine.checking.opening import opened
from apps.engine.core.console import Console
from apps.engine.core.distributed import World
from apps.engine.core.machine import choose_precision, training_precision
from apps.engine.core.model import describe, find_weights, inference_forward, make_backbone, make_model
from apps.engine.core.registry import load_task
from apps.engine.core.run_dir import read_config
from apps.engine.core.settings import Settings
from apps.engine.core.task import AnyTask
from apps.engine.data.cache import ImageCache
from apps.engine.data.loader import BadImage, Batch, Loader, Reading
from apps.engine.tracking.timer import StageTimer
from apps.engine.tracking.writers import require_writers, writer_names
from apps.engine.training.optim.optimizers import check_optimizer
from apps.engine.training.signals import SignalHandler
from apps.engine.training.sync_batchnorm import synchronise_batch_norm
from backbone import Backbone, WeightsInfo, optimize_for_training
from backbone._cpu.small_maps import guard_small_maps
from datasets.base import ImageDataset
from heads import MultiHead

DECOUPLED_DECAY, L2_DECAY = 0.05, 4e-5  # an L2 term is divided by nothing, so usual values are smaller
COMPILER = "inductor"
NAMED = 4  # images of a batch that a message names


class BatchSource(Protocol):
    """Batches epoch by epoch: of images, of features that stand for them, or of several tasks in turn."""

    @property
    def photos(self) -> Any:
        """The dataset that the batches are of."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from ``start`` on; the same ones whenever it is asked for again."""

    def empty(self, side: int) -> Batch:
        """A batch without images, which would be ``side`` px wide, for a process that has none."""


@dataclass
class SkippedImages:
    """The images that could not be read, each named once.

    Args:
        console: named each.
        reasons: a sentence an image.
    """

    console: Console
    reasons: list[str] = field(default_factory=list)

    def note(self, bad: Iterable[BadImage]) -> None:
        """Name those that are new; the rest goes on."""
        for reason in (image.reason for image in bad):
            if reason not in self.reasons:
                self.reasons.append(reason)
                self.console.warn(f"skipped: {reason}")


@dataclass(frozen=True)
class TrainSetup:
    """What a training is made of and nothing changes; what changes is in ``TrainState``.

    ``precision`` is that of answers and features; in what the backbone learns is ``model.backbone_dtype``.
    ``plain`` are the training images in order and not augmented; ``fits_head`` says that the head is fitted
    and nothing is trained.
    """

    name: str
    settings: Any
    run: Path
    console: Console
    model: MultiHead
    backbone: Backbone
    info: WeightsInfo
    classes: tuple[str, ...]
    photos: ImageDataset
    train: BatchSource
    plain: Loader
    val: Loader
    reading: Reading
    world: World
    losses: Callable[[torch.Tensor, torch.nn.Module, Any], dict[str, torch.Tensor]]
    precision: torch.dtype
    skipped: SkippedImages
    fits_head: bool = False
    signals: SignalHandler = field(default_factory=SignalHandler)
    timer: StageTimer = field(default_factory=StageTimer)

    @property
    def head(self) -> Any:
        """The task's head."""
        return self.model.heads[self.name]

    def eval_forward(self) -> Callable[[torch.Tensor], Any]:
        """The one head's output on a copy of the network made for answering; make it anew after learning."""
        return inference_forward(self.model, self.name, self.precision)

    def name_photos(self, indices: Sequence[int]) -> str:
        """The files of some training images, the first few by name."""
        named = ", ".join(str(self.photos.photos[index].path) for index in indices[:NAMED])
        more = f" and {len(indices) - NAMED} more" if len(indices) > NAMED else ""
        return named + more


def prepare(
    name: str, settings: Settings, run: Path, console: Console, world: World
) -> tuple[TrainSetup, AnyTask]:
    """Data, weights, model and loaders, with every setting resolved, and the task with these settings."""
    task_class = load_task(name)
    sample = settings.data is None
    check_early(task_class, settings)
    weights = find_weights(settings)
    settings = settings if weights is None else task_class.with_weights(settings, weights)
    if world.is_main:
        settings = with_sample(task_class, settings, console)
    settings = replace(settings, data=world.broadcast(settings.data))
    train, val = opened(task_class(settings), console)
    info = describe(settings, weights, sample=sample)
    for note in without_effect(settings, fit_head_distills=task_class.fit_head_distills):
        console.warn(note)
    chosen: Any = resolve(
        settings, info, photos=len(train), pretrained=weights is not None, sample=sample
    )
    console.say(
        f"{len(train)} training photos, {len(val)} validation photos, {len(train.classes)} classes; "
        f"{info.name} at {chosen.resolution} px" + ("" if weights else ", from scratch")
    )
    torch.manual_seed(chosen.seed)
    task = task_class(chosen)
    backbone, info = make_backbone(info, weights, chosen.resolution, task.eval_crop)
    model = make_model(task, backbone, train.classes)
    if weights is not None and (taken := task.start_head(model.heads[name], train.classes, weights)):
        console.say(taken)
    optimize_for_training(model)
    if chosen.bn == "frozen" or (chosen.bn == "auto" and weights is not None):
        backbone.freeze_bn_stats = True
    elif world.size > 1:
        synchronise_batch_norm(model)
    model.backbone_dtype = training_precision(
        chosen.precision, device=world.device.type, frozen=chosen.freeze
    )
    if model.backbone_dtype == torch.bfloat16:
        guard_small_maps(backbone)
    if chosen.compile:
        backbone.compile(backend=COMPILER)
    losses = task.losses(model.heads[name], train)
    cache = None if chosen.cache is None else ImageCache(chosen.cache, chosen.cache_gb)
    reading = Reading(chosen, world, cache)
    seen = info.preprocessing
    return TrainSetup(
        name, chosen, run, console, model.to(world.device), backbone, info, train.classes, train,
        train=reading.augmented(train), plain=reading.plain(train, seen, kept=False),
        val=reading.plain(val, seen), reading=reading, world=world, losses=losses,
        precision=choose_precision(chosen.precision), skipped=SkippedImages(console),
        fits_head=chosen.epochs is None,
    ), task


def check_early(task_class: type[AnyTask], settings: Settings) -> None:
    """Refuse before any image is read what could only fail later.

    Raises:
        FileNotFoundError: the teacher is missing.
        ValueError: the optimiser or the figure to watch does not exist, or what --log names is not installed.
    """
    require_writers(writer_names(settings.log))
    check_optimizer(settings.optimizer)
    if settings.data is None and settings.teacher is not None:
        read_config(Path(settings.teacher))  # before a sample is drawn
    if settings.monitor is not None and settings.monitor not in task_class.metrics.monitors:
        raise ValueError(
            f"--monitor {settings.monitor}: {task_class.name} has no such figure; it has "
            f"{', '.join(task_class.metrics.monitors)}"
        )


def without_effect(settings: Settings, *, fit_head_distills: bool = False) -> list[str]:
    """A sentence on each option that the others leave without effect.

    Args:
        settings: of a training.
        fit_head_distills: the application's ``fit_head`` learns a teacher's answers, too.
    """
    s: Any = settings
    trained = not s.freeze or s.epochs is not None
    results = {
        "--views": s.views > 0 and not (s.freeze and s.epochs is not None and s.cached_features),
        "--unfreeze-every": s.unfreeze_every is not None and s.freeze,
        "--layer-decay": s.layer_decay != 1.0 and s.freeze,
        "--step-epochs": s.step_epochs is not None and s.schedule != "step",
        "--ema": s.ema > 0 and not trained,
        "--patience": s.patience is not None and not trained,
        "--teacher": s.teacher is not None and not trained and not fit_head_distills,
    }
    return [f"{flag} has no effect with the other options given" for flag, vain in results.items() if vain]


def with_sample(task_class: type[AnyTask], settings: Settings, console: Console) -> Settings:
    """The drawn sample where no ``--data`` is given; says so.

    Raises:
        ValueError: the application has no sample.
    """
    if settings.data is not None:
        return settings
    if not task_class.has_sample:
        raise ValueError(f"{task_class.name} has no built-in sample; give --data DIR")
    from datasets.synthetic.drawn_dogs import BREEDS, TRAIN_PER_BREED, VAL_PER_BREED, drawn_dogs_root

    console.say("no --data: using the built-in sample, which is drawn by code and shows no real dogs")
    console.say(
        "the real thing: python cli.py fetch stanford-dogs --root DIR, then finetune dogs --data DIR"
    )
    pictures = len(BREEDS) * (TRAIN_PER_BREED + VAL_PER_BREED)
    with console.track("drawing the sample", pictures) as update:
        root = drawn_dogs_root(on_progress=lambda done, _total: update(done, "pictures"))
    return replace(settings, data=root)


def finer(resolution: int) -> int:
    """The side at which a network trained on random crops of ``resolution`` px sees best.

    Crops show things larger than whole images do, by about 1.25 with crops of 35 % of the area and more.

    Source: Touvron et al. 2019, "Fixing the train-test resolution discrepancy", arXiv:1906.06423.
    """
    return round(resolution * 1.25 / 32) * 32


# What is chosen where nothing is said, by what a training starts from; docs/adr/0002 says why.
FROM_WEIGHTS = {"epochs": 12, "min_crop": 0.35, "lr": 2e-4, "backbone_lr": 0.1, "warmup_epochs": 1.0}
FROM_SCRATCH = {"epochs": 60, "min_crop": 0.35, "lr": 1e-2, "backbone_lr": 1.0, "warmup_epochs": 2.0}
ON_SAMPLE = {"epochs": 20, "min_crop": 0.8, "lr": 2e-2, "backbone_lr": 1.0, "warmup_epochs": 2.0}
# A frozen backbone: without --epochs the head is fitted, which has no rate and no end to choose.
FROZEN = {"min_crop": 0.35, "lr": 3e-3, "backbone_lr": 0.0, "warmup_epochs": 0.0}


def resolve(
    settings: Settings, info: WeightsInfo, *, photos: int, pretrained: bool, sample: bool
) -> Settings:
    """The settings with every None chosen; ``epochs`` stays None where the head is fitted, not trained.

    Raises:
        ValueError: the batch is larger than the data or a single image, or a new backbone is frozen.
    """
    if settings.freeze and not pretrained:
        raise ValueError("--freeze keeps the backbone as it is, and a new one knows nothing; give --weights")
    if settings.batch_size == 1 and not pretrained:
        raise ValueError("--batch-size 1 gives batch-norm nothing to compare; give 2 or more")
    if settings.batch_size is not None and settings.batch_size > photos:
        raise ValueError(
            f"--batch-size {settings.batch_size} is more than the {photos} training photos; "
            f"give {photos} or less"
        )
    rated = info.preprocessing.resolution
    larger = pretrained and not settings.freeze and settings.finer_evaluation
    mode: dict[str, Any] = (
        FROZEN if settings.freeze else FROM_WEIGHTS if pretrained else ON_SAMPLE if sample else FROM_SCRATCH
    )
    chosen: dict[str, Any] = {
        **settings.scaled(mode, photos),
        "width": info.arguments.get("width"), "resolution": finer(rated) if larger else rated,
        "train_resolution": settings.resolution or rated, "batch_size": min(32, photos),
        "weight_decay": DECOUPLED_DECAY if settings.optimizer.lower().endswith("w") else L2_DECAY,
    }
    return replace(settings, **{k: v for k, v in chosen.items() if vars(settings)[k] is None})
