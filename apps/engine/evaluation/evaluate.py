"""``evaluate``: a run, or pretrained weights, evaluated on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from apps.engine.checking.opening import fixed_as_trained, without_photos
from apps.engine.core import run_dir as runs
from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.engine.core.model import load_pretrained, load_run
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.task import AnyTask, ReportInputs
from apps.engine.data.loader import eval_loader
from apps.engine.evaluation.forward import evaluated_by, sliced_by, whole_loader
from apps.engine.inference.lines import check_options
from apps.engine.inference.slices.tiles import Slices
from apps.engine.reporting.tolerant import METRICS_COMPLETE, try_report
from apps.engine.scale.local_data import present, with_local_data
from apps.engine.training.finalize import facts
from apps.engine.training.loop import rate, run_model

BATCH = 64
Keep = Callable[[AnyTask, RunConfig, Any], None]


def evaluate(
    name: str, *, checkpoint: Path | None = None, weights: str | None = None, data: Path | str | None = None,
    split: str = "val", report: Path | None = None, workers: int | None = None, tta: str | None = None,
    precision: str = "auto", engine: str = "auto", device: str = "auto", keep: Keep | None = None,
    slices: Slices | None = None, console: Console,
) -> dict[str, Any]:
    """The figures of a model on the images of one split.

    Args:
        name: of the application.
        checkpoint: a run of it; or ``weights`` that bring a classifier.
        data: folder of images, or an address; the run's own by default.
        split: ``val`` or ``train``.
        report: folder to write ``report.html`` into.
        workers: reading processes; None decides by the cores.
        tta: views of an image whose answers are averaged; None for those that the run was evaluated with.
        precision: ``auto``, ``fp32`` or ``bf16``.
        engine: that computes; see :class:`apps.engine.inference.predictor.Predictor`.
        device: see there.
        keep: takes the task, the configuration and the evaluation before the report is written.
        slices: tiles of each image that a detector sees, too; None for none.
        console: where words and progress go.

    Returns:
        ``{"app", "n", "metrics", "intervals"}``, and ``"skipped"``.

    Raises:
        OSError: data or model are missing, or the report cannot be written.
        ValueError: the model is damaged or of another application, or the classes do not fit.
    """
    changes = {} if data is None else with_local_data({"data": data}, console)
    if checkpoint is not None:
        task, model, config = load_run(checkpoint, app=name, **changes)
    else:
        task, model, config = load_pretrained(weights or "", app=name, **changes)
    if task.settings.data is None:
        raise ValueError("no photos to evaluate; give --data DIR")
    present(task.settings.data, console)
    check_options([type(task)], top=None, tta=tta)
    if report is not None:
        writable_folder(report, "--report")
    source = str(checkpoint or weights)
    how: dict[str, Any] = {"precision": precision, "engine": engine, "device": device, "app": name}
    how["say"] = console.say
    forward = sliced_by(source, slices, **how) if slices else evaluated_by(source, tta=tta, **how)
    predictions, skipped = evaluate_split(
        task, forward, config, split, workers, console, whole=slices is not None
    )
    if keep is not None:
        keep(task, config, predictions)
    if report is not None:
        inputs = ReportInputs(
            f"{name}: {config.backbone.name} on {task.settings.data}", predictions, facts(config),
            runs.read_metrics(checkpoint) if checkpoint else [], model, config,
        )
        try_report(lambda: task.report(report, inputs), console, METRICS_COMPLETE)
    return {
        "app": name, "n": len(predictions), "metrics": predictions.metrics(),
        "intervals": predictions.intervals(), "skipped": skipped,
    }


def evaluate_split(
    task: AnyTask, forward: Callable[[Tensor], Any], config: RunConfig, split: str, workers: int | None,
    console: Console, *, whole: bool = False,
) -> tuple[Any, int]:
    """The answers on one split, and how many images could not be read; ``whole``: seen at their own size."""
    task.prepare(split, console, classes=config.classes)
    photos = fixed_as_trained(task, task.dataset(split, classes=config.classes), console)
    seen = config.backbone.preprocessing
    loader = whole_loader(photos) if whole else eval_loader(photos, seen, batch_size=BATCH, workers=workers)
    evaluator = task.evaluator(photos, config.classes, config.calibration)
    with console.track(split, len(loader)) as update:
        bad = run_model(
            forward, loader.epoch(0), evaluator, on_step=lambda n, totals: update(n, rate(totals))
        )
    for note in (*photos.notes, *without_photos(photos, split)):
        console.warn(note)
    for bad_image in bad:
        console.warn(f"skipped: {bad_image.reason}")
    return evaluator.compute(), len(bad)
