"""The end of a training: calibrate, evaluate, and write what a person wants to open and what answers."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from apps.engine.core import run_dir
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.settings import shareable
from apps.engine.core.task import AnyTask, Evaluation, ReportInputs
from apps.engine.inference.graph.run_model import write_run_model
from apps.engine.reporting.tolerant import try_report
from apps.engine.training.setup import TrainSetup

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")


def finalize(
    setup: TrainSetup, task: AnyTask, raw: Evaluation, *, seconds: float
) -> dict[str, float | None]:
    """Write the checkpoint and the report of a trained model; returns its metrics.

    Args:
        setup: the training.
        task: what was learned.
        raw: the evaluation on the validation images, not calibrated; all processes compute it together, the
            first one calibrates and writes.
        seconds: that the training took.
    """
    if not setup.world.is_main:
        return {}
    predictions, calibration, cross_validated = task.calibrate(raw)
    metrics: dict[str, float | None] = {**predictions.metrics(), **cross_validated}
    if (doubt := task.learned_nothing(predictions)):
        setup.console.warn(doubt)
    config = RunConfig(
        app=setup.name, classes=setup.classes, settings=setup.settings.to_dict(), backbone=setup.info,
        fingerprint=setup.backbone.fingerprint(), metrics=metrics, versions=versions(),
        calibration=calibration, intervals=predictions.intervals(), seconds=round(seconds, 1),
        precision=precision_used(setup),
        data={
            "train": len(setup.photos), "val": len(setup.val.photos),
            "skipped": shareable(setup.skipped.reasons),
        },
    )
    try:
        run_dir.save_checkpoint(setup.run, setup.model, config)
    except OSError as err:
        raise OSError(
            f"cannot write the finished model into {setup.run} ({err.strerror}); make room, then --resume "
            f"--out {setup.run} writes it"
        ) from err
    run_dir.finish_progress(setup.run)
    more = task.after_fit(setup.run, setup.model, config, setup.console)
    inputs = ReportInputs(
        f"{setup.name}: {setup.info.name} at {setup.settings.resolution} px", predictions,
        facts(config) | {"seconds of training": f"{seconds:.0f}"} | more, run_dir.read_metrics(setup.run),
        setup.model, config, cross_validated,
    )
    again = f"the run is complete: evaluate {setup.name} --checkpoint {setup.run} --report DIR writes one"
    try_report(lambda: task.report(setup.run, inputs), setup.console, again)
    if setup.settings.export:
        write_run_model(setup.run, setup.console)
    return metrics


def precision_used(setup: TrainSetup) -> dict[str, str | int]:
    """In what the parts of a setup were computed, and how many updates were done again in fp32."""
    return {
        "asked": setup.settings.precision, "backbone": NAMES[setup.model.backbone_dtype], "heads": "fp32",
        "answers": NAMES[setup.precision],
        "fp32_repeats": sum(row.get("fp32_repeats", 0) for row in run_dir.read_metrics(setup.run)),
    }


def versions() -> dict[str, str]:
    """Of the interpreter and the libraries that the figures depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def facts(config: RunConfig) -> dict[str, str | float]:
    """Settings and provenance, for a report's table."""
    results = {name: value for name, value in config.settings.items() if value is not None}
    return {
        "weights": f"{config.backbone.name}: {config.backbone.source} ({config.backbone.licence})",
        "backbone": f"{config.backbone.arch} {dict(config.backbone.arguments)}",
        "backbone fingerprint": config.fingerprint,
        "photos": ", ".join(f"{name} {value}" for name, value in config.data.items() if name != "skipped"),
        "skipped photos": len(config.data.get("skipped", ())),
        "precision used": ", ".join(f"{part} {name}" for part, name in config.precision.items()),
        "temperature": round(config.calibration.get("temperature", 1.0), 4),
        **{name: value if isinstance(value, int | float | str) else str(value)
           for name, value in results.items()},
        **config.versions,
    }
