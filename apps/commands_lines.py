"""What commands share: JSON on stdout, a line a photo, and the options of commands that look at photos."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

PRECISION = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
    help="of the network's sums",
)
WORKERS = click.option("--workers", type=click.IntRange(0), help="processes that read photos")


def emit(values: dict[str, Any]) -> None:
    """One JSON object on a line of stdout."""
    click.echo(json.dumps(values))  # in ASCII: a file name may be no UTF-8


def emit_photos(context: click.Context, lines: Iterable[dict[str, Any]]) -> None:
    """A line a photo; those with an ``error`` are counted on stderr; exit code 1 where nothing else came."""
    good = bad = 0
    for line in lines:
        emit(line)
        bad += "error" in line
        good += "error" not in line
    if bad:
        click.echo(f"{bad} of {good + bad} photos could not be read", err=True)
    context.exit(0 if good else 1)
