"""Our engine as a side of the comparison: the only file of the benchmarks that knows how it is called."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import torch

from apps.dogs import DogsSettings
from apps.engine.loader import Batch
from apps.engine.optim import adamw, cosine, parameter_groups
from apps.job import Job, prepare
from apps.progress import Screen
from apps.training import one_epoch, train_frozen
from benchmarks.gate import Gate
from benchmarks.rounds import Side

EPOCHS = 1000  # of the schedule: more than a benchmark runs
NAMED: tuple[str, ...] = ("precision", "weights")  # options of a side that are settings of ours
LEAST_CROP = 0.08  # as the peers' scripts, instead of our 0.35


def photos_in(batch: Batch) -> float:
    """Photos of a batch."""
    return float(len(batch.indices))


@dataclass
class Gated:
    """A loader whose batches pass a gate."""

    loader: Any
    gate: Gate

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, each when its turn comes."""
        return self.gate.through(self.loader.epoch(number), photos_in)


def lacking(side: Side) -> str:
    """Why this version of ours cannot run a side; empty where it can."""
    wanted = {name for name in NAMED if name in side.options}
    if side.options.get("epoch") == "later":
        wanted.add("cache")
    missing = wanted - {one.name for one in fields(DogsSettings)}
    return f"this version of ours has no {', '.join(f'--{name}' for name in sorted(missing))}" * bool(missing)


def settings_of(side: Side, folder: Path) -> DogsSettings:
    """The settings that make our run the same work as the peers'; a new cache in ``folder``."""
    known = {one.name for one in fields(DogsSettings)}
    extra: dict[str, Any] = {name: side.options[name] for name in NAMED if name in side.options}
    if "epoch" in side.options and "cache" in known:
        extra["cache"] = folder / "cache"
    return DogsSettings(
        data=Path(side.root), width=side.width, resolution=side.resolution, batch_size=side.batch,
        epochs=EPOCHS, min_crop=LEAST_CROP, seed=side.seed, workers=None if side.core is None else 0, **extra,
    )


@contextmanager
def prepared(side: Side) -> Iterator[Job]:
    """Data, network and loaders of a run that leaves nothing behind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield prepare("dogs", settings_of(side, folder), folder / "run", Screen(quiet=True))


def train(gate: Gate, side: Side) -> None:
    """``finetune dogs`` from scratch, epoch by epoch; ``options`` may hold:

    ``epoch``: ``first`` to fill an empty photo cache, ``later`` to read from a full one;
    ``precision``: as ``--precision``; ``work``: ``read`` to read photos only.
    """
    with prepared(side) as job:
        plain: Any = job.train
        first = 0
        if side.options.get("epoch") == "later":
            for _ in plain.epoch(0):
                pass  # fills the cache
            first = 1
        job.train = Gated(plain, gate)  # type: ignore[assignment]
        s = job.settings
        optimizer = adamw(parameter_groups(
            job.model, lr=s.lr, backbone_lr=s.backbone_lr, weight_decay=s.weight_decay
        ))
        steps = len(plain) * s.epochs
        schedule = cosine(optimizer, steps=steps, warmup=round(len(plain) * s.warmup_epochs))
        gate.say({
            "workers": plain.loader.num_workers, "threads": torch.get_num_threads(),
            "optimizer": type(optimizer).__name__,
        })
        for epoch in count(first):
            if side.options.get("work") == "read":
                for _ in job.train.epoch(epoch):
                    pass
            else:
                one_epoch(job, optimizer, schedule, epoch)


def frozen(gate: Gate, side: Side) -> None:
    """A step is some epochs over a frozen backbone: on kept features with ``options["cached"]``."""
    with prepared(side) as job:
        epochs: int = side.options["epochs"]
        job.backbone.freeze()
        head = job.model.heads[job.app.name].parameters()
        optimizer = torch.optim.AdamW(head, lr=1e-3)
        schedule = cosine(optimizer, steps=len(job.train) * EPOCHS, warmup=0)
        gate.say({"photos": len(job.train.photos), "threads": torch.get_num_threads()})
        work = float(epochs * len(job.train.photos))
        for step in gate.through(count(), lambda _: work):
            if side.options["cached"]:
                train_frozen(job)
                continue
            for epoch in range(epochs):
                one_epoch(job, optimizer, schedule, step * epochs + epoch)
