"""What commands share: JSON on stdout, a line an image, and the options of commands that look at images."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.engine.core.device import DEVICES, ENGINES
from apps.engine.core.files import json_line
from apps.engine.core.settings import MOST_WORKERS
from apps.engine.scale.shards import has_packed
from apps.engine.scale.stores import is_url
from apps.faces import NO_FACE

if TYPE_CHECKING:
    from rich.table import Table

    from apps.engine.scale.answering import Answers

PRECISION = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
    help="of the backbone's sums; auto is fp32, the same numbers on every processor",
)


class Count(click.IntRange):
    """A whole number within bounds, and why there are some."""

    def __init__(self, low: int, high: int, why: str) -> None:
        super().__init__(low, high)
        self.why = why

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            result: int = super().convert(value, param, ctx)
        except click.BadParameter as err:
            raise click.BadParameter(f"{err.message.rstrip('.')}: {self.why}.", ctx, param) from err
        return result


AT_WORK = Count(0, MOST_WORKERS, "each is a process or a thread")
ANSWERS = Count(1, 100_000, "all are kept for each image")
WORKERS = click.option("--workers", type=AT_WORK, help="that read images  [default: by the cores]")
ENGINE = click.option(
    "--engine", type=click.Choice(ENGINES), default="auto", show_default=True,
    help="what computes; auto: the exported file's runtime where there is a file, else torch",
)
DEVICE = click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True,
    help="where; auto: the processor for a file, a GPU for torch where there is one",
)


class Place(click.Path):
    """A path, or an address such as ``s3://bucket/photos``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Addresses stay texts."""
        return value if isinstance(value, str) and is_url(value) else super().convert(value, param, ctx)


PLACE = Place(path_type=Path)
PARTS_NAMES = ("out", "runner", "shard_size", "image_seconds", "gpus")
PARTS = (
    click.option(
        "--out", type=PLACE, help="folder of Parquet parts to write, not lines; started again, it goes on"
    ),
    click.option(
        "--runner", metavar="WHERE", default="local", show_default=True,
        help="what works on --out: local, ray, or ray://HOST:PORT of a cluster",
    ),
    click.option(
        "--shard-size", type=Count(1, 1_000_000, "a shard is done as a whole"), default=1000,
        show_default=True, help="images a part of --out",
    ),
    click.option(
        "--image-seconds", type=float, default=30.0, show_default=True,
        help="with --out: an image that takes longer is named and left out; 0: no limit",
    ),
    click.option(
        "--gpus", type=click.FloatRange(0, 64), default=0.0, show_default=True,
        help="of each worker on a cluster; 0.25 lets four share one",
    ),
)


def parts_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of answers that are written as parts."""
    for option in reversed(PARTS):
        command = option(command)
    return command


def wants_parts(context: click.Context, paths: Sequence[Path | str], scale: dict[str, Any]) -> bool:
    """Whether answers go through the engine for many images: into a folder, or from stores and archives.

    Raises:
        click.UsageError: options of ``--out`` were given without it.
    """
    if scale["out"] is None:
        refuse_vain(context, PARTS_NAMES[1:], "is for --out FOLDER")
    return scale["out"] is not None or has_packed(list(map(str, paths)))


def emit_answers(
    context: click.Context, paths: Sequence[Path | str], answers: Answers, scale: dict[str, Any],
    workers: int | None,
) -> None:
    """Answer for many images: a summary of the parts, or a line an image; exit code 1 if all are bad."""
    from apps.engine.core.console import Console
    from apps.engine.scale.job import run_job, stream
    from apps.engine.scale.work import Order

    places = list(map(str, paths))
    if scale["out"] is None:
        emit_images(context, stream(places, answers))
        return
    try:
        order = Order(workers=workers or None, **scale | {"out": str(scale["out"])})
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    summary = run_job(places, answers, order, Console())
    emit(summary)
    context.exit(0 if summary["failed"] < summary["images"] else 1)


def note(text: str) -> None:
    """A line for the user, on stderr."""
    click.echo(text, err=True)


def check_weights(weights: str | None, app: str | None = None) -> None:
    """Refuse weights, if some are given, before torch is imported.

    Raises:
        ConnectionError, FileNotFoundError, ValueError: as the function of this name in ``engine.inference``.
    """
    if weights is not None:
        from apps.engine.inference.weights_check import check_weights as check

        check(weights, app)


def check_model_file(model: Path | None) -> None:
    """Refuse a file for ``--model`` that by its name was not made by ``export``.

    Raises:
        click.UsageError: see above.
    """
    if model is not None and model.suffix not in (".onnx", ".xml"):
        raise click.UsageError(f"--model wants a file made by export, .onnx or .xml, got {model}")


def refuse_vain(context: click.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that were given though they have no effect.

    Args:
        context: of the command.
        names: of the parameters that would have none.
        why: a sentence for the user, after the options' names.

    Raises:
        click.UsageError: one of them was given.
    """
    default = click.core.ParameterSource.DEFAULT
    vain = [
        max(parameter.opts, key=len) for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is not default
    ]
    if vain:
        raise click.UsageError(f"{', '.join(vain)} {why}")


def emit(values: dict[str, Any]) -> None:
    """One JSON object on a line of stdout; what is not defined or has no bound is null."""
    click.echo(json_line(values))


FORMAT = click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True,
    help="of the rows on stdout",
)


def emit_rows(rows: Iterable[dict[str, Any]], form: str) -> None:
    """Rows of one shape on stdout: an object a line, or CSV with a line of names above.

    Args:
        rows: that all have the names of the first.
        form: ``json`` or ``csv``; what is a list or an object is JSON in its cell of CSV.
    """
    if form == "json":
        for row in rows:
            emit(row)
        return
    for number, row in enumerate(rows):
        if not number:
            click.echo(_csv_line(list(row)))
        click.echo(_csv_line([
            json_line(value) if isinstance(value, list | dict | bool) else value for value in row.values()
        ]))


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def terminal_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Container[int], *, title: str = "",
    unbroken: Container[int] = (),
) -> Table:
    """A table for rich's console, its cells as they are: no markup in them.

    Args:
        head: titles of the columns.
        rows: cells, as many as there are columns.
        numeric: columns to align to the right, from 0.
        title: above the table.
        unbroken: columns that do not wrap.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left")
    for at, name in enumerate(head):
        table.add_column(
            escape(name), justify="right" if at in numeric else "left", overflow="fold",
            no_wrap=at in unbroken,
        )
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def emit_images(context: click.Context, lines: Iterable[dict[str, Any]]) -> None:
    """A line an image, or a face; images with an ``error`` are counted on stderr; exit code 1 if all are bad.

    An image on which no face is found was read: it has a line that says so, and is counted apart.
    """
    good: set[str] = set()
    bad = faceless = 0
    for line in lines:
        emit(line)
        if "error" not in line:
            good.add(str(line.get("path", len(good))))
        elif line["error"] == NO_FACE:
            faceless += 1
        else:
            bad += 1
    total = len(good) + bad + faceless
    if faceless:
        click.echo(f"{NO_FACE} on {faceless} of {total} photos", err=True)
    if bad:
        click.echo(f"{bad} of {total} photos could not be read", err=True)
    context.exit(0 if good or faceless else 1)


def check_suffix(flag: str, path: Path | None, suffix: str) -> None:
    """Refuse a file to write that is called like another kind: what is there would be lost.

    Raises:
        click.UsageError: it has another suffix, or is a folder or a device.
    """
    if path is not None and (path.suffix.lower() != suffix or (path.exists() and not path.is_file())):
        raise click.UsageError(f"{flag} {path} is to be a {suffix} file; give one of that name")
