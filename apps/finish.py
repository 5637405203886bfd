"""The end of a training: calibrate, judge, and write what a person wants to open."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from apps.engine import checkpoint
from apps.engine.checkpoint import RunConfig
from apps.engine.loader import eval_transform
from apps.gradcam import grad_cam, overlay
from apps.job import Job
from apps.metrics import Predictions
from apps.training import predict_val
from datasets.images import BadPhotoError, read_photo
from heads import MultiHead

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")
THUMBNAIL_PX = 160
LOOKS = 8


def finish(job: Job, *, seconds: float) -> dict[str, float]:
    """Write the checkpoint and the report of a trained job; returns its figures.

    The processes judge together; the first one calibrates and writes.
    """
    raw = predict_val(job)
    if not job.world.first:
        return {}
    predictions, calibration, honest = job.app.calibrate(raw)
    metrics = job.app.metrics(predictions) | honest
    config = RunConfig(
        app=job.app.name, classes=job.classes, settings=job.settings.to_dict(), backbone=job.info,
        fingerprint=job.backbone.fingerprint(), metrics=metrics, versions=versions(),
        calibration=calibration, intervals=job.app.intervals(predictions), seconds=round(seconds, 1),
        data={"train": len(job.photos), "val": len(job.val.photos), "skipped": job.bad},
    )
    try:
        checkpoint.save_checkpoint(job.run, job.model, config)
    except OSError as err:
        raise OSError(
            f"cannot write the finished model into {job.run} ({err.strerror}); make room, then --resume "
            f"--out {job.run} writes it"
        ) from err
    checkpoint.write_progress(job.run, checkpoint.read_progress(job.run) | {"state": "finished"})
    job.app.report(
        job.run, title=f"{job.app.name}: {job.info.name} at {job.settings.resolution} px",
        predictions=predictions, ece=honest.get("ece"), history=checkpoint.read_metrics(job.run),
        facts=facts(config) | {"seconds of training": f"{seconds:.0f}"}, thumbnail=thumbnail,
        cams=looks(job.model, job.app.name, config, predictions),
    )
    return metrics


def versions() -> dict[str, str]:
    """Of the interpreter and the libraries that the figures hang on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def facts(config: RunConfig) -> dict[str, str | float]:
    """Settings and provenance, for a report's table."""
    told = {name: value for name, value in config.settings.items() if value is not None}
    return {
        "weights": f"{config.backbone.name}: {config.backbone.source} ({config.backbone.licence})",
        "backbone": f"{config.backbone.arch} {dict(config.backbone.arguments)}",
        "backbone fingerprint": config.fingerprint,
        "photos": ", ".join(f"{name} {value}" for name, value in config.data.items() if name != "skipped"),
        "skipped photos": len(config.data.get("skipped", ())),
        "temperature": round(config.calibration.get("temperature", 1.0), 4),
        **{name: value if isinstance(value, int | float | str) else str(value)
           for name, value in told.items()},
        **config.versions,
    }


def thumbnail(path: str) -> Image.Image:
    """A photo small enough for a page; BadPhotoError, a ValueError, where it cannot be read."""
    image = read_photo(Path(path), min_side=THUMBNAIL_PX)
    image.thumbnail((2 * THUMBNAIL_PX, THUMBNAIL_PX))
    return image


def looks(
    model: MultiHead, name: str, config: RunConfig, predictions: Predictions
) -> list[tuple[Image.Image, str]]:
    """Where the network looked, for a handful of photos spread over right and wrong answers."""
    preprocessing = config.backbone.preprocessing
    look = eval_transform(preprocessing.resolution, preprocessing.crop)
    wrong, right = ([int(i) for i in (predictions.right == told).nonzero()[0]] for told in (False, True))
    half = min(len(wrong), LOOKS // 2)
    chosen = _spread(right, LOOKS - half) + _spread(wrong, half)
    pictures: list[tuple[Image.Image, str]] = []
    for index in chosen:
        try:
            pixels = torch.as_tensor(look(read_photo(Path(predictions.paths[index]))))
        except BadPhotoError:
            continue
        said = int(predictions.predicted[index])
        backbone: Any = model.backbone
        cam = grad_cam(backbone, model.heads[name], pixels[None].float() / 255, [said])[0]
        image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        truth = predictions.classes[int(predictions.targets[index])]
        verdict = "right" if predictions.classes[said] == truth else f"it is {truth}"
        pictures.append((overlay(image, cam), f"said {predictions.classes[said]}: {verdict}"))
    return pictures


def _spread(indices: list[int], count: int) -> list[int]:
    """``count`` of them, evenly spread."""
    if count <= 0 or not indices:
        return []
    step = max(len(indices) / count, 1.0)
    return [indices[int(step * n)] for n in range(min(count, len(indices)))]
