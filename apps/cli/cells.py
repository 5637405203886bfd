"""``cells``: adaptive partitions of the earth, built, reported and converted."""

from __future__ import annotations

from pathlib import Path

import click

from apps.cli.options import FOLDER
from apps.cli.output import emit

_LEVEL = click.IntRange(0, 30)
_OUT = click.option(
    "--out", type=FOLDER, required=True, help="file to write: .csv, .parquet or .geojson"
)


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
