"""The click command ``runs``; it never imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.cli.options import FOLDER
from apps.cli.output import emit
from apps.engine.core.console import terminal_table

if TYPE_CHECKING:
    from apps.engine.tracking.runs import Run


@click.command()
@click.argument("paths", nargs=-1, type=FOLDER, metavar="[DIR] [RUN RUN ...]")
@click.option("--sort", metavar="METRIC", help="best first by a metric such as top1, or by a column")
@click.option("--compare", "comparing", is_flag=True, help="set the runs named side by side")
@click.option("--json", "as_json", is_flag=True, help="as JSON, a line a run; so it is in a pipe, too")
def runs(paths: tuple[Path, ...], sort: str | None, comparing: bool, as_json: bool) -> None:
    """List the runs in DIR (default: runs), or --compare some of them."""
    as_json = as_json or not sys.stdout.isatty()
    if comparing:
        if sort:
            raise click.UsageError("--sort is for the list: leave it out with --compare")
        _compare(paths, as_json)
        return
    if len(paths) > 1:
        raise click.UsageError(f"give one DIR, or --compare with the {len(paths)} runs")
    from apps.engine.tracking.runs import find_runs, ordered

    result = find_runs(paths[0] if paths else Path("runs"))
    result = ordered(result, sort) if sort else result
    if as_json:
        for run in result:
            emit(run.to_dict())
        return
    _draw_list(result, sort)


def _compare(paths: Sequence[Path], as_json: bool) -> None:
    from apps.engine.tracking.compare import compare

    values = compare(_named(paths))
    if as_json:
        emit(values)
        return
    _draw_comparison(values)


def _named(paths: Sequence[Path]) -> list[Run]:
    """The runs named; a first path that is no run is the folder that the others lie in.

    Raises:
        FileNotFoundError: one of them is no run.
    """
    from apps.engine.tracking.runs import read_run

    parent, names = Path("runs"), list(paths)
    if names and names[0].is_dir() and read_run(names[0]) is None:
        parent = names.pop(0)
    if len(names) < 2:
        raise click.UsageError(f"--compare takes two runs or more, got {len(names)}")
    results = []
    for name in names:
        run = read_run(name) or read_run(parent / name)
        if run is None:
            raise FileNotFoundError(f"there is no run at {name} nor at {parent / name}; `runs` lists them")
        results.append(run)
    return results


def _draw_list(result: Sequence[Run], sort: str | None) -> None:
    from apps.engine.tracking.tables import list_lines, notes

    width = _width()
    _draw(list_lines(result, width, sort), wraps_first=True)
    for note in notes(result):
        click.echo(note)


def _draw_comparison(values: dict[str, Any]) -> None:
    from apps.engine.tracking.tables import comparison_lines

    for table in comparison_lines(values):
        _draw(table)
        click.echo("")


def _width() -> int:
    from rich.console import Console as RichConsole

    return RichConsole().width


def _draw(table: Sequence[Sequence[str]], *, wraps_first: bool = False) -> None:
    """A heading and rows of cells; figures stand to the right; all columns wrap, or the first alone."""
    from rich.console import Console as RichConsole

    from apps.engine.tracking.tables import is_figure

    head, *rows = table
    numeric = {at for at in range(len(head)) if all(is_figure(row[at]) for row in rows)}
    unbroken = range(1, len(head)) if wraps_first else ()
    RichConsole(highlight=False).print(terminal_table(head, rows, numeric, unbroken=unbroken))
