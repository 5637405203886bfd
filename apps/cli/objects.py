"""``detect`` and ``evaluate objects``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER, SHARE
from apps.cli.output import (
    DEVICE,
    ENGINE,
    PRECISION,
    WORKERS,
    check_model_file,
    check_weights,
    emit,
    emit_images,
    note,
    refuse_vain,
)


@click.command("objects")
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--weights", help="pretrained weights with a detector, instead of a run: a path or a name")
@click.option("--predictions", type=FOLDER, help="COCO results of any system, instead of a run; needs --data")
@click.option("--data", type=FOLDER, help="photos with boxes  [default: the run's]")
@click.option(
    "--split", type=click.Choice(["val", "train"]), default="val", show_default=True, help="which photos"
)
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@click.option("--write-predictions", "results", type=FOLDER, help="COCO result file for the run's answers")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def evaluate_objects(
    context: click.Context, /, checkpoint: Path | None, weights: str | None, predictions: Path | None,
    **rest: Any,
) -> None:
    """Evaluate a detector, or a result file of any system, by COCO's figures."""

    if [checkpoint, weights, predictions].count(None) != 2:
        raise click.UsageError("give one of --checkpoint RUN, --weights W and --predictions F")
    if checkpoint is None and rest["data"] is None:
        flag = "--weights" if predictions is None else "--predictions"
        raise click.UsageError(f"{flag} needs the photos and boxes to evaluate on; give --data DIR")
    if predictions is not None and rest["results"] is not None:
        raise click.UsageError("--write-predictions writes the answers of a run; give --checkpoint RUN")
    if predictions is not None:
        why = "is for --checkpoint: predictions are evaluated as is"
        refuse_vain(context, ("workers", "precision", "engine", "device"), why)
    check_weights(weights, "objects")
    from apps.engine.core.console import Console
    from apps.objects.evaluate import evaluate_detector, evaluate_predictions

    if predictions is None:
        emit(evaluate_detector(checkpoint=checkpoint, weights=weights, console=Console(), **rest))
    else:
        how = {name: rest[name] for name in ("data", "split", "report")}
        emit(evaluate_predictions(predictions, console=Console(), **how))


@click.command("detect")
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--weights", help="pretrained weights with a detector, instead of a run: a path or a name")
@click.option("--model", type=FOLDER, help="a file made by export, .onnx or .xml; needs no torch")
@click.option("--draw", type=FOLDER, help="folder for the images with boxes drawn")
@click.option(
    "--threshold", type=SHARE, default=0.3, show_default=True, help="least score"
)
@click.option("--classes", help="the only ones reported, with commas between")
@click.option("--top", type=click.IntRange(1), help="objects an image  [default: all]")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def detect(
    context: click.Context, /, paths: tuple[Path, ...], checkpoint: Path | None, weights: str | None,
    model: Path | None, classes: str | None, **rest: Any,
) -> None:
    """Find objects on images, or on all images in folders: one JSON line each."""
    from apps.engine.core.run_values import run_values
    from apps.objects.detect import detect as answers

    named = 3 - [checkpoint, weights, model].count(None)
    if named > 1:
        raise click.UsageError("give either --checkpoint RUN, --weights W or --model FILE, or none of them")
    check_model_file(model)
    if not named:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        weights = default_weights("objects", Console())
    if checkpoint is not None:
        run_values(checkpoint, app="objects", weights=False)
    wanted = [part.strip() for part in (classes or "").split(",") if part.strip()]
    source = str(checkpoint or weights or model)
    emit_images(context, answers(paths, source, classes=wanted, say=note, **rest))
