"""``detect`` and ``evaluate objects``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER, SHARE
from apps.cli.output import DEVICE, ENGINE, PRECISION, WORKERS, emit, emit_images, note, refuse_vain


@click.command("objects")
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--predictions", type=FOLDER, help="COCO results of any system, instead of a run; needs --data")
@click.option("--data", type=FOLDER, help="photos with boxes  [default: the run's]")
@click.option(
    "--split", type=click.Choice(["val", "train"]), default="val", show_default=True, help="which photos"
)
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@click.option("--write-predictions", "results", type=FOLDER, help="COCO result file for the run's answers")
@WORKERS
@PRECISION
@click.pass_context
def evaluate_objects(
    context: click.Context, /, checkpoint: Path | None, predictions: Path | None, **rest: Any
) -> None:
    """Judge a detector, or a result file of any system, by COCO's figures."""

    if (checkpoint is None) == (predictions is None):
        raise click.UsageError("give either --checkpoint RUN or --predictions F")
    if predictions is not None and rest["data"] is None:
        raise click.UsageError("--predictions needs the photos and boxes to judge by; give --data DIR")
    if predictions is not None and rest["results"] is not None:
        raise click.UsageError("--write-predictions writes the answers of a run; give --checkpoint RUN")
    if predictions is not None:
        refuse_vain(context, ("workers", "precision"), "is for --checkpoint: predictions are judged as is")
    from apps.engine.core.console import Console
    from apps.objects.evaluate import evaluate_predictions, evaluate_run

    if checkpoint is not None:
        emit(evaluate_run(checkpoint, console=Console(), **rest))
    elif predictions is not None:
        how = {name: rest[name] for name in ("data", "split", "report")}
        emit(evaluate_predictions(predictions, console=Console(), **how))


@click.command("detect")
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
@click.option("--checkpoint", type=FOLDER, required=True, help="a run's folder, made by `finetune objects`")
@click.option("--draw", type=FOLDER, help="folder for the photos with boxes drawn")
@click.option(
    "--threshold", type=SHARE, default=0.3, show_default=True, help="least score"
)
@click.option("--classes", help="the only ones told, with commas between")
@click.option("--top", type=click.IntRange(1), default=100, show_default=True, help="objects a photo")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def detect(context: click.Context, /, paths: tuple[Path, ...], classes: str | None, **rest: Any) -> None:
    """Find objects on photos, or on all photos in folders: one JSON line each."""
    from apps.objects.detect import detect as answers

    wanted = [part.strip() for part in (classes or "").split(",") if part.strip()]
    emit_images(context, answers(paths, classes=wanted, say=note, **rest))
