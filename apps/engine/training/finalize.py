"""The end of a training: calibrate, judge, and write what a person wants to open."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from apps.engine.core import run_dir
from apps.engine.core.run_dir import RunConfig
from apps.engine.training.fit import predict_val
from apps.engine.training.setup import Job

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")


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
        precision=precision_used(job),
        data={"train": len(job.photos), "val": len(job.val.photos), "skipped": job.bad},
    )
    try:
        run_dir.save_checkpoint(job.run, job.model, config)
    except OSError as err:
        raise OSError(
            f"cannot write the finished model into {job.run} ({err.strerror}); make room, then --resume "
            f"--out {job.run} writes it"
        ) from err
    run_dir.write_progress(job.run, run_dir.read_progress(job.run) | {"state": "finished"})
    job.app.report(
        job.run, title=f"{job.app.name}: {job.info.name} at {job.settings.resolution} px",
        predictions=predictions, honest=honest, history=run_dir.read_metrics(job.run),
        facts=facts(config) | {"seconds of training": f"{seconds:.0f}"}, model=job.model, config=config,
    )
    return metrics


def precision_used(job: Job) -> dict[str, str | int]:
    """In what the parts of a job were computed, and how many updates were done again in fp32."""
    return {
        "asked": job.settings.precision, "backbone": NAMES[job.model.backbone_dtype], "heads": "fp32",
        "answers": NAMES[job.precision],
        "fp32_repeats": sum(row.get("fp32_repeats", 0) for row in run_dir.read_metrics(job.run)),
    }


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
        "precision used": ", ".join(f"{part} {name}" for part, name in config.precision.items()),
        "temperature": round(config.calibration.get("temperature", 1.0), 4),
        **{name: value if isinstance(value, int | float | str) else str(value)
           for name, value in told.items()},
        **config.versions,
    }
