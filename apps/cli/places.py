"""``locate`` and ``evaluate places``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER
from apps.cli.output import DEVICE, ENGINE, PRECISION, WORKERS, emit, emit_images, refuse_vain

_LEAST = click.option(
    "--min-confidence", "least", type=float, default=0.0, show_default=True,
    help="do not answer where less probability than this, 0 to 1, lies within 200 km of the answer",
)
_TEN = click.option("--ten-crop", is_flag=True, help="average over ten views of each photo: slower")

_OF_RUNS = (
    "split", "cells", "least", "ten_crop", "baselines", "predictions_to", "workers", "precision",
    "engine", "device",
)


@click.command("places")
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune places`")
@click.option("--predictions", type=FOLDER, help="CSV with path, lat, lon of any system, instead of a run")
@click.option("--data", type=FOLDER, help="photos with GPS, or a table  [default: the run's]")
@click.option(
    "--split", type=click.Choice(["val", "train", "all"]),
    help="which images  [default: val of the run's data, all of other data]",
)
@click.option("--cells", type=FOLDER, help="refuse a run that was trained on other cells than these")
@_LEAST
@_TEN
@click.option("--baselines/--no-baselines", default=True, help="evaluate two simple answers beside the run")
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@click.option("--write-predictions", "predictions_to", type=FOLDER, help="CSV for the answers")
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def evaluate_places(
    context: click.Context, /, checkpoint: Path | None, predictions: Path | None, **rest: Any
) -> None:
    """Evaluate a model of places, or predictions of any system, by kilometres."""
    from apps.engine.core.console import Console
    from apps.places.evaluate import evaluate_predictions, evaluate_run

    if (checkpoint is None) == (predictions is None):
        raise click.UsageError("give either --checkpoint RUN or --predictions F")
    if checkpoint is not None:
        emit(evaluate_run(checkpoint, console=Console(), **rest))
        return
    assert predictions is not None
    refuse_vain(context, _OF_RUNS, "is for --checkpoint: predictions are evaluated as is")
    emit(evaluate_predictions(predictions, data=rest["data"], report=rest["report"], console=Console()))


@click.command("locate")
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune places`")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="cells an image")
@click.option("--album", is_flag=True, help="the images of a folder are one trip: answer for it, too")
@click.option("--map", type=FOLDER, help="draw where the images may be from: .png, .html, .geojson or .kml")
@click.option("--precise", is_flag=True, help="tell positions as they are, not to a city")
@_TEN
@click.option("--refine", is_flag=True, help="the place of the likest training image in the likeliest cells")
@_LEAST
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def locate(
    context: click.Context, /, paths: tuple[Path, ...], checkpoint: Path | None, **rest: Any
) -> None:
    """Tell where images may have been taken: one JSON line each.

    PATHS are images, or folders that are searched for images. What the camera wrote about the place is not
    read. Answers are coarse, as a city is, unless --precise.
    """
    if checkpoint is None:
        from apps.zoo.defaults import no_network

        raise click.UsageError(no_network("places"))
    from apps.engine.core.console import Console
    from apps.places.locate import Asked
    from apps.places.locate import locate as answers

    emit_images(context, answers(paths, checkpoint, Asked(**rest), Console()))
