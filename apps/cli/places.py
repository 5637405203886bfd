"""``locate``, ``evaluate places``, and ``cells``, the partitions of the earth that they answer by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER, PARTS, PLACE, check_suffix, parts_options
from apps.cli.output import (
    ANSWERS,
    DEVICE,
    ENGINE,
    FORMAT,
    PRECISION,
    WORKERS,
    Answers,
    emit,
    emit_images,
    emit_parts,
    refuse_vain,
    wants_parts,
)

_LEAST = click.option(
    "--min-confidence", "least", type=float, default=0.0, show_default=True,
    help="do not answer where less probability than this, 0 to 1, lies within 200 km of the answer",
)
_TEN = click.option("--ten-crop", is_flag=True, help="average over ten views of each photo: slower")

_LEVEL = click.IntRange(0, 30)
_OUT = click.option(
    "--out", type=FOLDER, required=True, help="file to write: .csv, .parquet or .geojson"
)

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
    check_suffix("--write-predictions", rest["predictions_to"], ".csv")
    if checkpoint is not None:
        emit(evaluate_run(checkpoint, console=Console(), **rest))
        return
    assert predictions is not None
    refuse_vain(context, _OF_RUNS, "is for --checkpoint: predictions are evaluated as is")
    emit(evaluate_predictions(predictions, data=rest["data"], report=rest["report"], console=Console()))


@click.command("locate")
@click.argument("paths", nargs=-1, required=True, type=PLACE)
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune places`")
@click.option("--top", type=ANSWERS, default=5, show_default=True, help="cells an image")
@click.option("--album", is_flag=True, help="the images of a folder are one trip: answer for it, too")
@click.option(
    "--neighbours/--no-neighbours", default=True, show_default=True,
    help="with --album: photos of the folder that tell their position help those close to them in time",
)
@click.option(
    "--gpx", type=FOLDER, multiple=True, help="with --album: a track of where you were, which helps as well"
)
@click.option(
    "--clock", type=float, metavar="HOURS",
    help="with --gpx: hours that the cameras' clocks are ahead of UTC  [default: as the photos tell]",
)
@click.option("--map", type=FOLDER, help="draw where the images may be from: .png, .html, .geojson or .kml")
@click.option(
    "--write-xmp", is_flag=True,
    help="put each answer into the image's XMP sidecar, marked as an estimate, unless it tells its position",
)
@click.option("--precise", is_flag=True, help="tell positions as they are, not to a city")
@_TEN
@click.option("--refine", is_flag=True, help="the place of the likest training image in the likeliest cells")
@_LEAST
@WORKERS
@PRECISION
@ENGINE
@DEVICE
@FORMAT
@parts_options
@click.pass_context
def locate(
    context: click.Context, /, paths: tuple[Path | str, ...], checkpoint: Path | None, form: str, **rest: Any
) -> None:
    """Tell where images may have been taken: one JSON line each.

    PATHS are images, or folders that are searched for images. What the camera wrote about the place of an
    image is not read for it; with --album it helps its neighbours in time. Answers are coarse, as a city is,
    unless --precise. With --out, PATHS may be packed or far away, as for `predict`.
    """
    scale = {name: rest.pop(name) for name in PARTS}
    many = wants_parts(context, scale, ("album", "gpx", "map", "refine", "form", "write_xmp"))
    if not rest["album"]:
        refuse_vain(context, ("neighbours", "gpx", "clock"), "is for --album")
    if checkpoint is None:
        from apps.zoo.defaults import no_network

        raise click.UsageError(no_network("places"))
    from apps.engine.core.console import Console
    from apps.places.locate import Asked, Places
    from apps.places.locate import locate as answers

    write_xmp = rest.pop("write_xmp")
    asked = Asked(**rest)
    if many:
        from apps.engine.core.run_values import run_values

        run_values(checkpoint, app="places", weights=False)
        emit_parts(context, paths, Places(asked.predictor(checkpoint, 1), asked), scale, asked.workers)
        return
    console = Console()
    lines = answers(list(map(Path, paths)), checkpoint, asked, console)
    if write_xmp:
        from apps.places.maps.sidecars import write_estimates

        lines = write_estimates(lines, precise=asked.precise, console=console)
    emit_images(context, lines, Answers(form))


@click.group()
def cells() -> None:
    """Partitions of the earth into cells: the classes of a model that tells where images were taken."""


@cells.command("build")
@click.argument("coords", type=FOLDER)
@click.option(
    "--t-max", type=float, multiple=True, required=True,
    help="split a cell with more images than this; repeat it for several nested partitions, coarsest first",
)
@click.option(
    "--t-min", type=float, multiple=True, required=True,
    help="keep a cell that has more images than this; one for all, or one for each --t-max",
)
@_OUT
@click.option("--min-level", type=_LEVEL, default=2, show_default=True, help="of the largest cells")
@click.option("--max-level", type=_LEVEL, default=30, show_default=True, help="of the smallest cells")
def build_command(
    coords: Path, t_max: tuple[float, ...], t_min: tuple[float, ...], out: Path, min_level: int,
    max_level: int,
) -> None:
    """Cut the earth into cells by the positions in COORDS: a CSV or Parquet table, or a folder of images.

    A table has columns lat and lon, and weight if positions count differently; images tell their position in
    EXIF. A cell is split while it has more than --t-max images.
    """
    from apps.engine.core.console import Console
    from apps.places.cells.build import build_cells
    from apps.places.cells.partition import Limits

    floors = t_min * len(t_max) if len(t_min) == 1 else t_min
    if len(floors) != len(t_max):
        raise click.UsageError(f"give one --t-min, or one for each of {len(t_max)} --t-max, got {len(t_min)}")
    try:
        limits = [Limits(high, low, min_level, max_level) for high, low in zip(t_max, floors, strict=True)]
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    emit(build_cells(coords, out, limits, Console()))


@cells.command("report")
@click.argument("file", metavar="CELLS", type=FOLDER)
@click.option("--points", type=FOLDER, help="test positions: CSV, Parquet or a folder of photos")
def report_command(file: Path, points: Path | None) -> None:
    """Number, levels, area and balance of CELLS; with --points also coverage and the best reachable."""
    from apps.engine.core.console import Console
    from apps.places.cells.build import report_cells

    emit(report_cells(file, points, Console()))


@cells.command("convert")
@click.argument("file", metavar="CELLS", type=FOLDER)
@_OUT
def convert_command(file: Path, out: Path) -> None:
    """Write CELLS in another format; a CSV needs no more than a column of S2 tokens."""
    from apps.places.cells.build import convert_cells

    emit(convert_cells(file, out))
