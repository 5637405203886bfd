"""``predict``: photos to names by a run, weights, several heads in one pass, or an exported file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from apps.cli.options import APP, FOLDER
from apps.cli.output import PRECISION, WORKERS, emit_images

TTA = ["none", "mirror", "ten", "scales"]
TTA_HELP = "views of a photo whose answers are averaged  [default: as the run was calibrated]"
Lines = Iterator[dict[str, Any]]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by finetune")
@click.option("--weights", help="pretrained weights with a head of their own, instead of a run")
@APP
@click.option("--heads", metavar="RUN,RUN,...", help="runs of one backbone: one pass, all answers")
@click.option("--model", type=FOLDER, help="a file made by export, .onnx or .xml; needs no torch")
@click.option("--allow-separate", is_flag=True, help="let --heads make a pass a backbone where they differ")
@click.option("--top", type=click.IntRange(1), help="classes, cells or objects a photo  [default: 5]")
@click.option("--crops", is_flag=True, help="of attributes, faces: the photos are face crops, so find none")
@WORKERS
@click.option("--tta", type=click.Choice(TTA), help=TTA_HELP)
@PRECISION
@click.pass_context
def predict(
    context: click.Context, /, paths: tuple[Path, ...], heads: str | None, model: Path | None,
    allow_separate: bool, **rest: Any,
) -> None:
    """Name what is on photos, or on all photos in folders: one JSON line each.

    Where no model is named, published weights answer: with ImageNet's classes and, for a dog, its breed, or
    what --app asks for.
    """
    named = 4 - [rest["checkpoint"], rest["weights"], heads, model].count(None)
    if named > 1:
        raise click.UsageError(
            "give one of --checkpoint RUN, --weights W, --heads RUN,RUN and --model FILE, or none of them"
        )
    if allow_separate and heads is None:
        raise click.UsageError("--allow-separate goes with --heads RUN,RUN")
    if rest["app"] is not None and (heads is not None or model is not None):
        raise click.UsageError("--app goes with --weights W or --checkpoint RUN; leave it out")
    if rest["crops"] and rest["checkpoint"] is None and rest["app"] != "attributes":
        raise click.UsageError("--crops goes with --checkpoint RUN of attributes or faces, --app attributes")
    if not named:
        from apps.engine.core.console import Console
        from apps.zoo.defaults import default_weights

        rest["weights"] = default_weights(rest["app"] or "imagenet", Console())
    if heads is not None:
        lines = _by_heads(paths, heads, allow_separate, rest)
    elif model is not None:
        lines = _by_file(paths, model, rest)
    else:
        from apps.engine.inference.predict import predict as answers

        lines = answers(paths, **rest)
    emit_images(context, lines)


def _by_heads(paths: tuple[Path, ...], heads: str, separate: bool, rest: dict[str, Any]) -> Lines:
    from apps.joint.multi_head import predict_heads

    runs = [Path(part) for part in heads.split(",") if part]
    if not runs:
        raise click.UsageError("--heads names no run; give --heads RUN,RUN")
    how = {name: rest[name] for name in ("top", "workers", "tta", "precision")}
    return predict_heads(paths, runs, separate=separate, **how)


def _by_file(paths: tuple[Path, ...], model: Path, rest: dict[str, Any]) -> Lines:
    from apps.engine.inference.model_file import predict as answers

    if rest["tta"] is not None or rest["precision"] != "auto":
        raise click.UsageError("--model settles --tta and --precision; leave them out")
    return answers(paths, model=model, top=rest["top"], workers=rest["workers"])
