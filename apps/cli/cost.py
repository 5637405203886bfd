"""The click command ``cost``; torch is imported when it runs, never for help."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from apps.engine.core.console import terminal_table

if TYPE_CHECKING:
    from apps.cost.text import Sheet

UNBROKEN = "\N{NO-BREAK SPACE}"  # only headings wrap
PIPE_COLUMNS = 160  # where there is no terminal to ask for its width
ONE_NETWORK = ("width", "resolution", "classes", "shallow", "full_convolution", "backbone", "layers")


@click.command()
@click.option("--table", help="a table of the paper, beside ours: 2, 4 to 14, or all")
@click.option(
    "--width", type=click.FloatRange(max=100), help="multiplier of the channels, above 0  [default: 1.0]"
)
@click.option(
    "--resolution", type=click.IntRange(max=8192),
    help="side of the image, px, from 32 up  [default: the network's]",
)
@click.option(
    "--classes", type=click.IntRange(max=10_000_000), default=1000, show_default=True,
    help="of the classifier; 0 for the trunk alone",
)
@click.option("--shallow", is_flag=True, help="without the five 14x14x512 layers, as in Table 5")
@click.option("--full-convolution", is_flag=True, help="full 3x3 convolutions, as in Table 4")
@click.option(
    "--backbone", default="mobilenetv1", show_default=True, help="another network, by its name in timm"
)
@click.option("--layers", is_flag=True, help="list every layer")
@click.option("--json", "as_json", is_flag=True, help="as JSON, a line a row")
@click.option("--markdown", "as_markdown", is_flag=True, help="as Markdown, as in docs/tables.md")
@click.pass_context
def cost(
    context: click.Context, /, table: str | None, as_json: bool, as_markdown: bool, **network: Any
) -> None:
    """Count mult-adds and parameters of a network, or of a whole table of the paper."""
    if as_json and as_markdown:
        raise click.UsageError("give either --json or --markdown")
    if table is None:
        _show_one(network, as_json, as_markdown)
        return
    given = [
        item for item in ONE_NETWORK if context.get_parameter_source(item) is ParameterSource.COMMANDLINE
    ]
    if given:
        flags = ", ".join("--" + item.replace("_", "-") for item in given)
        raise click.UsageError(f"--table says which networks: leave out {flags}")
    _show_tables(table, as_json, as_markdown)


def _show_one(network: dict[str, Any], as_json: bool, as_markdown: bool) -> None:
    from apps.cost.count import one_network
    from apps.cost.text import kinds_sheet, layers_sheet

    row = one_network(**network)
    if as_json:
        _print_json([row])
        return
    sheets = [kinds_sheet(row), *([layers_sheet(row)] if "layers" in row else [])]
    _print_sheets(sheets, as_markdown)


def _show_tables(asked: str, as_json: bool, as_markdown: bool) -> None:
    from apps.cost.count import table_numbers, table_rows
    from apps.cost.text import INTRODUCTION, table_sheet

    tables = {number: table_rows(number) for number in table_numbers(asked)}
    if as_json:
        _print_json(row for rows in tables.values() for row in rows)
        return
    sheets = [table_sheet(number, rows) for number, rows in tables.items()]
    _print_sheets(sheets, as_markdown, INTRODUCTION if asked == "all" else ())


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False, allow_nan=False))


def _print_sheets(sheets: Sequence[Sheet], as_markdown: bool, introduction: Sequence[str] = ()) -> None:
    from apps.cost.text import markdown
    from backbone.complexity import CONVENTION

    if as_markdown:
        click.echo(markdown(sheets, CONVENTION, introduction))
        return
    _draw(sheets)
    click.echo(f"\n{CONVENTION}")


def _draw(sheets: Sequence[Sheet]) -> None:
    """Tables for a terminal; notes stand below them, as they are long."""
    from rich.console import Console as RichConsole
    from rich.markup import escape

    console = RichConsole(highlight=False)
    if not console.is_terminal:
        console = RichConsole(highlight=False, width=PIPE_COLUMNS)
    blank = UNBROKEN if console.encoding.startswith("utf") else " "
    for sheet in sheets:
        noted = sheet.heading[-1] == "note"
        count = len(sheet.heading) - noted
        cells = [[cell.replace(" ", blank) for cell in row[:count]] for row in sheet.rows]
        console.print(terminal_table(sheet.heading[:count], cells, sheet.figures, title=sheet.title))
        notes = [f"{row[0]}: {row[-1]}." for row in sheet.rows if noted and row[-1]]
        for line in filter(None, (sheet.remark, *notes)):
            console.print(escape(line), soft_wrap=True)
