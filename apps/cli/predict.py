"""``predict``: photos to names by a run, weights, several heads in one pass, or an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.faces import DETECTORS
from apps.cli.options import APP, FOLDER
from apps.cli.output import (
    ANSWERS,
    DEVICE,
    ENGINE,
    PARTS_NAMES,
    PLACE,
    PRECISION,
    WORKERS,
    check_model_file,
    emit_answers,
    emit_images,
    note,
    parts_options,
    wants_parts,
)

TTA = ["none", "mirror", "ten", "scales"]
TTA_HELP = "views of a photo whose answers are averaged  [default: as the run was calibrated]"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PLACE)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by finetune")
@click.option("--weights", help="pretrained weights with a head of their own, instead of a run")
@APP
@click.option("--heads", metavar="RUN,RUN,...", help="runs of one backbone: one pass, all answers")
@click.option("--model", type=FOLDER, help="a file made by export, .onnx or .xml; needs no torch")
@click.option("--allow-separate", is_flag=True, help="let --heads make a pass a backbone where they differ")
@click.option("--top", type=ANSWERS, help="how many  [default: 5 classes or cells, all objects]")
@click.option("--crops", is_flag=True, help="of attributes, faces: the photos are face crops, so find none")
@click.option(
    "--detector", type=click.Choice(DETECTORS),
    help="of attributes, faces: what finds them, mtcnn or, without torch, ssd  [default: mtcnn]",
)
@WORKERS
@click.option("--tta", type=click.Choice(TTA), help=TTA_HELP)
@PRECISION
@ENGINE
@DEVICE
@parts_options
@click.pass_context
def predict(
    context: click.Context, /, paths: tuple[Path | str, ...], checkpoint: Path | None, weights: str | None,
    heads: str | None, model: Path | None, app: str | None, allow_separate: bool, top: int | None,
    crops: bool, detector: str | None, workers: int | None, **how: Any,
) -> None:
    """Name what is on photos, or on all photos in folders: one JSON line each.

    PATHS are images, folders, tar shards, Parquet files with images, lists (.txt) or addresses of these:
    s3://, gs://, http(s)://.

    Where no model is named, published weights answer: with ImageNet's classes and, for a dog, its breed, or
    what --app asks for.
    """
    scale = {name: how.pop(name) for name in PARTS_NAMES}
    many = wants_parts(context, paths, scale)
    named = 4 - [checkpoint, weights, heads, model].count(None)
    if named > 1:
        raise click.UsageError(
            "give one of --checkpoint RUN, --weights W, --heads RUN,RUN and --model FILE, or none of them"
        )
    if allow_separate and heads is None:
        raise click.UsageError("--allow-separate goes with --heads RUN,RUN")
    if app is not None and (heads is not None or model is not None):
        raise click.UsageError("--app goes with --weights W or --checkpoint RUN; leave it out")
    if crops and checkpoint is None and app != "attributes":
        raise click.UsageError("--crops goes with --checkpoint RUN of attributes or faces, --app attributes")
    if detector is not None and (model is not None or crops):
        raise click.UsageError("--detector goes with a run or weights that answer for faces; leave it out")
    check_model_file(model)
    if not named:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        weights = default_weights(app or "imagenet", Console())
    how |= {"threads": workers or None, "app": app, "top": top, "detector": detector, "say": note}
    if heads is not None:
        from apps.joint.multi_head import predict_heads

        runs = [Path(part) for part in heads.split(",") if part]
        if not runs:
            raise click.UsageError("--heads names no run; give --heads RUN,RUN")
        if many:
            raise click.UsageError("--heads answers lines for images and folders; give --checkpoint RUN")
        lines = predict_heads(list(map(Path, paths)), runs, separate=allow_separate, **how)
    else:
        from apps.engine.inference.lines import predict as answers
        from apps.engine.inference.lines import predictor_of

        source = str(checkpoint or weights or model)
        asked = {"is_run": checkpoint is not None, "crops": crops, **how}
        if many:
            from apps.engine.scale.answering import Predictions

            predictor = predictor_of(source, **asked | {"threads": 1})
            emit_answers(context, paths, Predictions(predictor, top), scale, workers)
            return
        lines = answers(list(map(Path, paths)), source, **asked)
    emit_images(context, lines)
