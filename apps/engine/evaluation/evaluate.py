"""``evaluate``: a run, or pretrained weights, judged on labelled photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from apps.engine.core import run_dir as runs
from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.engine.core.machine import choose_precision
from apps.engine.core.model import answering, load_pretrained, load_run, tta_of
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.task import AnyTask, ReportInputs
from apps.engine.data.loader import eval_loader
from apps.engine.inference.predict import check_options
from apps.engine.inference.tta import tta_logits
from apps.engine.training.finalize import facts
from apps.engine.training.loop import rate, run_model
from apps.engine.training.setup import without_photos

BATCH = 64


def evaluate(
    name: str, *, checkpoint: Path | None = None, weights: str | None = None, data: Path | None = None,
    split: str = "val", report: Path | None = None, workers: int | None = None, tta: str | None = None,
    precision: str = "auto", console: Console,
) -> dict[str, Any]:
    """The figures of a model on the photos of one split.

    Args:
        name: of the application.
        checkpoint: a run of it; or ``weights`` that bring a classifier.
        data: folder of photos; the run's own by default.
        split: ``val`` or ``train``.
        report: folder to write ``report.html`` into.
        workers: reading processes; None decides by the cores.
        tta: views of a photo whose answers are averaged; None for those that the run was judged with.
        precision: ``auto``, ``fp32`` or ``bf16``.
        console: where words and progress go.

    Returns:
        ``{"app", "n", "metrics", "intervals"}``, and ``"skipped"``.

    Raises:
        OSError: data or model are missing, or the report cannot be written.
        ValueError: the model is damaged or of another application, or the classes do not fit.
    """
    changes = {} if data is None else {"data": data}
    if checkpoint is not None:
        app, model, config = load_run(checkpoint, app=name, **changes)
    else:
        app, model, config = load_pretrained(weights or "", app=name, **changes)
    if app.settings.data is None:
        raise ValueError("no photos to evaluate; give --data DIR")
    check_options([type(app)], top=None, tta=tta)
    if report is not None:
        writable_folder(report, "--report")
    forward, kind = answering(model, name, choose_precision(precision)), tta_of(config, tta)
    head = model.heads[name]
    predictions, skipped = evaluate_split(
        app, lambda images: app.postprocess(head, tta_logits(forward, images, kind)), config, split, workers,
        console,
    )
    if report is not None:
        app.report(report, ReportInputs(
            f"{name}: {config.backbone.name} on {app.settings.data}", predictions, facts(config),
            runs.read_metrics(checkpoint) if checkpoint else [], model, config,
        ))
    return {
        "app": name, "n": len(predictions), "metrics": predictions.metrics(),
        "intervals": predictions.intervals(), "skipped": skipped,
    }


def evaluate_split(
    app: AnyTask, forward: Callable[[Tensor], Any], config: RunConfig, split: str, workers: int | None,
    console: Console,
) -> tuple[Any, int]:
    """The answers on one split, and how many of its photos could not be read."""
    app.prepare(split, console, classes=config.classes)
    photos = app.dataset(split, classes=config.classes)
    loader = eval_loader(photos, config.backbone.preprocessing, batch_size=BATCH, workers=workers)
    with console.track(split, len(loader)) as update:
        outputs, targets, indices, bad = run_model(
            forward, loader.epoch(0), on_step=lambda n, totals: update(n, rate(totals))
        )
    for note in (*photos.notes, *without_photos(photos, split)):
        console.warn(note)
    for bad_image in bad:
        console.warn(f"skipped: {bad_image.reason}")
    paths = tuple(str(photos.photos[index].path) for index in indices)
    return app.predictions(outputs, targets, paths, config.classes, config.calibration), len(bad)
