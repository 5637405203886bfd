"""``check``: what looks wrong with a data set, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import click

from apps.cli.options import FOLDER, PLACE, application, check_suffix
from apps.cli.output import emit


@click.command("check")
@click.argument("app", callback=application)
@click.argument("data", type=PLACE)
@click.option("--report", type=FOLDER, help="write report.html, with the photos in question, into this")
@click.option(
    "--fix", type=FOLDER, help="write a CSV of what to move or leave out; `finetune --fix` reads it"
)
@click.option("--weights", help="what looks at the photos: a path or a name  [default: if here, the usual]")
@click.option("--fetch", is_flag=True, help="get the default weights where they are not on this machine")
@click.option("--no-network", is_flag=True, help="look without weights: no likely wrong labels or boxes")
def check(
    app: str, data: Path | str, report: Path | None, fix: Path | None, weights: str | None, fetch: bool,
    no_network: bool,
) -> None:
    """Look through the data of an application: copies, leaks, bad files, likely wrong labels and boxes.

    DATA is what `finetune APP --data` takes. Nothing is changed.
    """
    if no_network and (weights is not None or fetch):
        raise click.UsageError("--no-network looks with no weights; leave --weights and --fetch out")
    check_suffix("--fix", fix, ".csv")
    from apps.engine.checking.survey import check as look
    from apps.engine.core.console import Console
    from apps.engine.scale.local_data import with_local_data
    from apps.zoo.defaults import weights_that_look

    console = Console()
    chosen = {} if no_network else weights_that_look(app, weights, fetch=fetch, console=console)
    folder = with_local_data({"data": data}, console)["data"]
    emit(look(app, folder, report=report, fix=fix, weights=chosen, console=console))
