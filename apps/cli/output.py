"""What commands share: JSON on stdout, a line an image, and the options of commands that look at images."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.cli.options import FOLDER, PARTS, Seconds, check_suffix
from apps.engine.core.console import quantity, terminal_table
from apps.engine.core.device import DEVICES, ENGINES
from apps.engine.core.files import json_line
from apps.engine.core.settings import MOST_WORKERS
from apps.faces import NO_FACE

if TYPE_CHECKING:
    from apps.engine.scale.answering import Answers as Answering
    from datasets.file_kinds import Sampling

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

EVERY = click.option(
    "--every", type=Seconds(), metavar="SECONDS",
    help="between the frames of a video that are answered for; 0 for all  [default: 1]",
)
VIDEOS = click.option("--videos", is_flag=True, help="read videos in folders, too; those named always are")


def sampling_of(every: float | None, videos: bool = False, default: float = 1.0) -> Sampling:
    """Which frames of videos are answered for, as --every and --videos say."""
    from datasets.file_kinds import Sampling

    return Sampling(default if every is None else every, videos)


def note(text: str) -> None:
    """A line for the user, on stderr."""
    click.echo(text, err=True)


def check_paths(paths: Iterable[Path]) -> None:
    """Refuse images of which none is there, before a network is fetched for them.

    Raises:
        FileNotFoundError: see above.
    """
    named = list(paths)
    if not any(path.exists() for path in named):
        from datasets.image_io import list_photos

        list_photos(named)


def check_weights(weights: str | None, app: str | None = None) -> None:
    """Refuse weights, if some are given, before torch is imported.

    Raises:
        ConnectionError, FileNotFoundError, ValueError: as the function of this name in ``engine.inference``.
    """
    if weights is not None:
        from apps.engine.inference.weights_check import check_weights as check

        check(weights, app)


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


ROWS = ("json", "csv", "table")
DOCUMENTS = ("coco", "label-studio")
FORMAT = click.option(
    "--format", "form", type=click.Choice(ROWS), default="json", show_default=True,
    help="of the rows on stdout",
)
RESULTS = click.option(
    "--format", "form", type=click.Choice([*ROWS, *DOCUMENTS]), default="json", show_default=True,
    help="of the answers on stdout; the last two, for tools that correct labels, are one document",
)
LABEL_CONFIG = click.option(
    "--label-config", type=FOLDER, help="file for the project of --format label-studio: its config, .xml"
)


def emit_rows(rows: Iterable[dict[str, Any]], form: str) -> None:
    """Rows of one shape on stdout: an object a line, CSV with a line of names above, or a table.

    Args:
        rows: that all have the names of the first.
        form: one of :data:`ROWS`; what is a list or an object is JSON in its cell of CSV and of a table.
    """
    if form == "json":
        for row in rows:
            emit(row)
        return
    if form == "table":
        _draw_rows(list(rows))
        return
    for number, row in enumerate(rows):
        if not number:
            click.echo(_csv_line(list(row)))
        click.echo(_csv_line([
            json_line(value) if isinstance(value, list | dict | bool) else value for value in row.values()
        ]))


def _draw_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Rows as a table, as wide as they are where nobody looks at a screen."""
    from rich.console import Console

    if not rows:
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    numeric = [
        at for at, name in enumerate(rows[0])
        if all(isinstance(row[name], int | float | None) and not isinstance(row[name], bool) for row in rows)
    ]
    width = None if sys.stdout.isatty() else 10_000
    Console(highlight=False, width=width).print(terminal_table(list(rows[0]), cells, numeric))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = json_line(value) if isinstance(value, list | dict | bool) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


@dataclass
class Answers:
    """What the lines of ``predict`` and ``detect`` are written as.

    Args:
        form: one of :data:`ROWS` and :data:`DOCUMENTS`.
        model: what answers, for documents.
        label_config: file for Label Studio's labelling config.
        objects: they are of ``detect``.
        tracked: these have ids.
        classes: of the model; filled in when it is loaded.

    Raises:
        click.UsageError: a config is asked for without tasks, or into a file of another kind.
    """

    form: str = "json"
    model: str = ""
    label_config: Path | None = None
    objects: bool = False
    tracked: bool = False
    classes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.label_config is not None and self.form != "label-studio":
            raise click.UsageError("--label-config goes with --format label-studio")
        check_suffix("--label-config", self.label_config, ".xml")

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """All lines on stdout: rows one by one, a document at the end."""
        if self.form in ROWS:
            from apps.engine.results.rows import answer_rows

            if self.form != "json":
                lines = answer_rows(lines, objects=self.objects, tracked=self.tracked)
            emit_rows(lines, self.form)
            return
        from apps.engine.results.documents import document

        result = document(self.form, list(lines), self.classes, self.model, self.label_config, note)
        if result is not None:
            click.echo(json_line(result))


def emit_images(
    context: click.Context, lines: Iterable[dict[str, Any]], answers: Answers | None = None
) -> None:
    """A line an image, or a face; images with an ``error`` are counted on stderr; exit code 1 if all are bad.

    An image on which no face is found was read: it has a line that says so, and is counted apart.
    """
    good: set[tuple[str, Any]] = set()
    bad = faceless = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal bad, faceless
        for line in lines:
            if "error" not in line:
                good.add((str(line.get("path", len(good))), line.get("time")))
            elif line["error"] == NO_FACE:
                faceless += 1
            else:
                bad += 1
            yield line

    (answers or Answers()).write(counted())
    total = len(good) + bad + faceless
    if faceless:
        click.echo(f"{NO_FACE} on {faceless} of {quantity(total, 'photo')}", err=True)
    if bad:
        click.echo(f"{bad} of {quantity(total, 'photo')} could not be read", err=True)
    context.exit(0 if good or faceless else 1)


def wants_parts(context: click.Context, scale: dict[str, Any], vain: Sequence[str] = ()) -> bool:
    """Whether answers go into a folder of parts; options that this, or its lack, makes vain are refused."""
    if scale["out"] is None:
        refuse_vain(context, PARTS[1:], "is for --out FOLDER")
        return False
    refuse_vain(context, vain, "is for lines on stdout; leave --out out")
    return True


def emit_parts(
    context: click.Context, paths: Iterable[Path | str], answers: Answering, scale: dict[str, Any],
    workers: int | None,
) -> None:
    """Answer for many images into a folder, and sum up, or by lines; exit code 1 if all are bad."""
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
