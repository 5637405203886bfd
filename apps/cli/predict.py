"""``predict``: images to names by a run, weights, several heads or a file; ``evaluate``: how well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.faces import DETECTORS
from apps.cli.options import APP, FOLDER, PARTS, PLACE, check_model_file, parts_options
from apps.cli.output import (
    ANSWERS,
    AT_WORK,
    DEVICE,
    ENGINE,
    EVERY,
    LABEL_CONFIG,
    PRECISION,
    RESULTS,
    VIDEOS,
    WORKERS,
    Answers,
    check_paths,
    check_weights,
    emit,
    emit_images,
    emit_parts,
    note,
    refuse_vain,
    sampling_of,
    wants_parts,
)
from apps.engine.scale.shards import has_packed

OF_MODEL = ("report", "workers", "tta", "precision", "engine", "device")  # options of evaluate
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
@EVERY
@VIDEOS
@RESULTS
@LABEL_CONFIG
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
    crops: bool, detector: str | None, workers: int | None, every: float | None, videos: bool,
    form: str, label_config: Path | None, **how: Any,
) -> None:
    """Name what is on photos, on all photos in folders, or on the frames of videos: one JSON line each.

    PATHS may also be tar shards, Parquet files with images and addresses: s3://, gs://, http(s)://; with
    --out lists of paths and addresses (.txt), too.

    Where no model is named, published weights answer: with ImageNet's classes and, for a dog, its breed, or
    what --app asks for.
    """
    _check(context.params)
    scale = {name: how.pop(name) for name in PARTS}
    many = wants_parts(context, scale, ("heads", "every", "videos", "form", "label_config"))
    many = many or has_packed(list(map(str, paths)))
    files = list(map(Path, paths))
    if (checkpoint, weights, heads, model) == (None,) * 4:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        if not many:
            check_paths(files)
        weights = default_weights(app or "imagenet", Console())
    how |= {"threads": workers or None, "app": app, "top": top, "detector": detector, "say": note}
    known = Answers(form, Path(str(heads or checkpoint or weights or model)).name, label_config)
    if heads is None:
        how["know"] = known.classes.extend
    how["sampling"] = sampling_of(every, videos)
    if heads is not None:
        from apps.joint.multi_head import predict_heads

        runs = [Path(part) for part in heads.split(",") if part]
        if not runs:
            raise click.UsageError("--heads names no run; give --heads RUN,RUN")
        lines = predict_heads(files, runs, separate=allow_separate, **how)
    else:
        from apps.engine.inference import lines as engine

        source = str(checkpoint or weights or model)
        how |= {"is_run": checkpoint is not None, "crops": crops}
        if many:
            from apps.engine.scale.answering import Predictions

            del how["know"], how["sampling"]
            predictor = engine.predictor_of(source, **how | {"threads": 1})
            emit_parts(context, paths, Predictions(predictor, top), scale, workers)
            return
        lines = engine.predict(files, source, **how)
    emit_images(context, lines, known)


def _check(given: dict[str, Any]) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: see above.
    """
    of_model = [given[name] for name in ("checkpoint", "weights", "heads", "model")]
    checkpoint, _, heads, model = of_model
    app, crops = given["app"], given["crops"]
    if of_model.count(None) < 3:
        raise click.UsageError(
            "give one of --checkpoint RUN, --weights W, --heads RUN,RUN and --model FILE, or none of them"
        )
    if given["allow_separate"] and heads is None:
        raise click.UsageError("--allow-separate goes with --heads RUN,RUN")
    if app is not None and (heads is not None or model is not None):
        raise click.UsageError("--app goes with --weights W or --checkpoint RUN; leave it out")
    if crops and checkpoint is None and app != "attributes":
        raise click.UsageError("--crops goes with --checkpoint RUN of attributes or faces, --app attributes")
    if given["detector"] is not None and (model is not None or crops):
        raise click.UsageError("--detector goes with a run or weights that answer for faces; leave it out")
    check_model_file(model)


def evaluate_command(name: str) -> click.Command:
    """``evaluate NAME`` of an application that has no command of its own."""

    def run(
        checkpoint: Path | None, weights: str | None, predictions: Path | None, **rest: Any
    ) -> None:
        if [checkpoint, weights, predictions].count(None) != 2:
            raise click.UsageError("give either --checkpoint RUN or --weights W, or --predictions FOLDER")
        check_weights(weights, name)
        from apps.engine.core.console import Console
        from apps.engine.evaluation.evaluate import evaluate

        if predictions is not None:
            refuse_vain(click.get_current_context(), OF_MODEL, "is for a model: answers are evaluated as is")
            from apps.engine.evaluation.of_parts import evaluate_parts

            emit(evaluate_parts(name, predictions, rest["data"], rest["split"], Console()))
            return
        emit(evaluate(name, checkpoint=checkpoint, weights=weights, console=Console(), **rest))

    params: list[click.Parameter] = [
        click.Option(["--checkpoint"], type=FOLDER, help="a run's folder, made by finetune"),
        click.Option(["--weights"], help="pretrained weights with a classifier: a path or a name"),
        click.Option(["--predictions"], type=FOLDER, help="folder that `predict --out` wrote, instead"),
        click.Option(["--data"], type=PLACE, help="folder of images  [default: the run's]"),
        click.Option(
            ["--split"], type=click.Choice(["val", "train"]), default="val", show_default=True,
            help="which photos",
        ),
        click.Option(["--report"], type=FOLDER, help="write report.html and its plots into this folder"),
        click.Option(["--workers"], type=AT_WORK, help="processes that read photos"),
        click.Option(["--tta"], type=click.Choice(TTA), help=TTA_HELP),
    ]
    command = click.command(name, help=f"Evaluate a model of {name} on labelled images.")(
        PRECISION(ENGINE(DEVICE(run)))
    )
    command.params[:0] = params
    return command
