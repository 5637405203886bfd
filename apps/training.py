"""Training a job: the head alone on cached features, or every layer."""

from __future__ import annotations

import json
from typing import Any

import torch

from apps.engine import checkpoint
from apps.engine.features import pooled_features
from apps.engine.optim import adamw, cosine, parameter_groups
from apps.engine.probe import fit_probe
from apps.engine.train import Tally, rate, run_model, train_epoch
from apps.job import Job
from apps.metrics import Predictions


def train_frozen(job: Job) -> None:
    """A linear probe: the backbone runs once over the photos, the head is fitted to its features."""
    job.backbone.freeze()
    head: Any = job.model.heads[job.app.name]
    with job.screen.track("features", len(job.still)) as update:
        features, targets, _, bad = pooled_features(
            job.backbone, job.still, stride=head.strides[0], on_step=lambda n, tally: update(n, rate(tally))
        )
    job.note_bad(bad)
    probe = fit_probe(head, features, targets, seed=job.settings.seed)
    if probe.accuracy_by_strength:
        best = probe.accuracy_by_strength[probe.strength]
        job.screen.say(
            f"linear probe: C = {probe.strength:g}, {best:.1%} right in {probe.folds}-fold validation"
        )


def train_all(job: Job, saved: dict[str, Any] | None, *, start: int, stop_after: int | None) -> int:
    """Train every layer; returns the number of epochs done in all."""
    s = job.settings
    if saved is None and s.weights is not None:
        train_frozen(job)  # a head that fits first: a random one would shake good features
        job.backbone.unfreeze()
    optimizer = adamw(parameter_groups(
        job.model, lr=s.lr, backbone_lr=s.backbone_lr, weight_decay=s.weight_decay
    ))
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
    per_epoch = len(job.train)
    schedule = cosine(optimizer, steps=per_epoch * s.epochs, warmup=round(per_epoch * s.warmup_epochs))
    last: int = s.epochs if stop_after is None else min(s.epochs, start + stop_after)
    for epoch in range(start, last):
        tally = one_epoch(job, optimizer, schedule, epoch)
        job.note_bad(tally.bad)
        row = {"epoch": epoch + 1, **{f"train/{k}": v for k, v in tally.means().items()},
               **validate(job), "lr": optimizer.param_groups[-1]["lr"], "seconds": round(tally.seconds, 2)}
        checkpoint.append_metrics(job.run, row)
        save_state(job, optimizer, epoch + 1)
        job.screen.say(
            f"epoch {epoch + 1}/{s.epochs}: loss {row['train/loss']:.3f}, val top-1 {row['val/top1']:.1%}, "
            f"{tally.photos / tally.seconds:.0f} photos/s"
        )
    return max(last, start)


def one_epoch(job: Job, optimizer: torch.optim.Optimizer, schedule: Any, epoch: int) -> Tally:
    """One pass; everything random in it hangs on the seed and the epoch alone."""
    torch.manual_seed(job.settings.seed * 100_003 + epoch)
    step = epoch * len(job.train)

    def before_step() -> None:
        nonlocal step
        schedule.step_update(step)
        step += 1

    head: Any = job.model.heads[job.app.name]
    job.model.train()
    label = f"epoch {epoch + 1}/{job.settings.epochs}"
    with job.screen.track(label, len(job.train)) as update:
        return train_epoch(
            job.forward, head.loss, job.train.epoch(epoch), optimizer, before_step=before_step,
            clip_norm=job.settings.clip_norm, on_step=lambda n, tally: update(n, rate(tally)),
        )


def validate(job: Job) -> dict[str, float]:
    """The figures of the validation photos, as keys of ``metrics.jsonl``."""
    predictions = predict_val(job)
    found = job.app.metrics(predictions)
    return {"val/loss": found["cross_entropy"], "val/top1": found["top1"]}


def predict_val(job: Job) -> Predictions:
    """The model's answers on the validation photos."""
    job.model.eval()
    with job.screen.track("validation", len(job.val)) as update:
        logits, targets, indices, bad = run_model(
            job.forward, job.val.epoch(0), on_step=lambda n, tally: update(n, rate(tally))
        )
    job.note_bad(bad)
    paths = tuple(str(job.val.photos.photos[index].path) for index in indices)
    return Predictions(logits.numpy(), targets.numpy(), paths, job.classes)


def save_state(job: Job, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Keep all that the next epoch needs."""
    checkpoint.save_training_state(job.run, {
        "epoch": epoch, "model": job.model.state_dict(), "optimizer": optimizer.state_dict(),
        "settings": json.dumps(job.settings.to_dict()), "classes": list(job.classes),
        "photos": len(job.train.photos),
    })


def restore(job: Job, saved: dict[str, Any]) -> int:
    """Put a saved state into a job; returns the number of epochs done.

    Raises:
        ValueError: the photos or classes are others than when the run was started.
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
    job.model.load_state_dict(saved["model"])
    done: int = saved["epoch"]
    return done
