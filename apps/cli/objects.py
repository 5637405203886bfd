"""``detect`` and ``evaluate objects``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.cli.options import FOLDER, SHARE
from apps.cli.output import (
    ANSWERS,
    DEVICE,
    ENGINE,
    PARTS_NAMES,
    PLACE,
    PRECISION,
    WORKERS,
    check_model_file,
    check_suffix,
    check_weights,
    emit,
    emit_answers,
    emit_images,
    note,
    parts_options,
    refuse_vain,
    wants_parts,
)

if TYPE_CHECKING:
    from PIL import Image


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
    check_suffix("--write-predictions", rest["results"], ".json")
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
@click.argument("paths", nargs=-1, required=True, type=PLACE)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune objects`")
@click.option("--weights", help="pretrained weights with a detector, instead of a run: a path or a name")
@click.option("--model", type=FOLDER, help="a file made by export, .onnx or .xml; needs no torch")
@click.option("--draw", type=FOLDER, help="folder for the images with boxes drawn")
@click.option("--crops", type=FOLDER, help="folder for the objects, cut out, a file each")
@click.option("--blur", help="classes, with commas between, or `faces`: pixelated in --draw and --crops")
@click.option(
    "--threshold", type=SHARE, default=0.3, show_default=True, help="least score"
)
@click.option("--classes", help="the only ones reported, with commas between")
@click.option("--top", type=ANSWERS, help="objects an image  [default: all]")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@parts_options
@click.pass_context
def detect(
    context: click.Context, /, paths: tuple[Path | str, ...], checkpoint: Path | None, weights: str | None,
    model: Path | None, classes: str | None, blur: str | None, **rest: Any,
) -> None:
    """Find objects on images, or on all images in folders: one JSON line each.

    PATHS may be packed or far away, as for `predict`.
    """
    from apps.engine.core.run_values import run_values
    from apps.engine.inference.predictor import Predictor
    from apps.objects.detect import FACES, Detections
    from apps.objects.detect import detect as answers

    scale = {name: rest.pop(name) for name in PARTS_NAMES}
    many = wants_parts(context, paths, scale)
    if many:
        refuse_vain(context, ("draw", "crops", "blur"), "draws images in folders of this machine alone")
    if blur is not None and not blur.strip(" ,"):
        raise click.UsageError("--blur names nothing; give classes with commas between, or `faces`")
    if blur and rest["draw"] is None and rest["crops"] is None:
        raise click.UsageError("--blur changes what --draw and --crops write; give one of them")
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
    shown, hidden = (
        [part.strip() for part in (words or "").split(",") if part.strip()] for words in (classes, blur)
    )
    hidden = [FACES if name.lower() == FACES else name for name in hidden]
    source = str(checkpoint or weights or model)
    if many:
        how = {name: rest[name] for name in ("engine", "device", "precision")}
        predictor = Predictor(source, threads=1, app="objects", **how)
        found = Detections(predictor, rest["threshold"], tuple(shown), rest["top"])
        emit_answers(context, paths, found, scale, rest["workers"])
        return
    photos, faces = list(map(Path, paths)), _face_boxes() if FACES in hidden else None
    emit_images(
        context, answers(photos, source, classes=shown, blur=hidden, find_faces=faces, say=note, **rest)
    )


def _face_boxes() -> Callable[[Image.Image], Sequence[Sequence[float]]]:
    """The boxes of the faces of an image, by the detector of `embed-faces`."""
    from apps.faces.detection.detector import DetectionError, Detector

    detector = Detector()

    def boxes(image: Image.Image) -> list[tuple[float, float, float, float]]:
        try:
            return [face.box for face in detector.detect(image)]
        except DetectionError as err:
            raise ValueError(str(err)) from err

    return boxes
