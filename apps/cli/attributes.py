"""``evaluate attributes``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER
from apps.cli.output import DEVICE, ENGINE, PRECISION, emit, refuse_vain

_OF_RUNS = ("precision", "engine", "device")


@click.command("attributes")
@click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune attributes`")
@click.option("--weights", help="face weights with heads for gender and age: these heads are evaluated")
@click.option("--predictions", type=FOLDER, help="CSV or Parquet of any system's probabilities, with image")
@click.option("--data", type=FOLDER, help="folder of images  [default: the run's]")
@click.option("--table", type=FOLDER, help="their attributes  [default: the run's, or that in --data]")
@click.option(
    "--split", type=click.Choice(["val", "train", "test", "all"]),
    help="which images  [default: val; all with --predictions]",
)
@click.option("--teacher", help="as of `finetune attributes`: tells how well the run repeats it, too")
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@click.option("--workers", type=click.IntRange(0), help="processes that read photos")
@PRECISION
@ENGINE
@DEVICE
@click.pass_context
def evaluate_attributes(
    context: click.Context, /, checkpoint: Path | None, weights: str | None, predictions: Path | None,
    split: str | None, workers: int | None, data: Path | None, teacher: str | None,
    **rest: Any,
) -> None:
    """Evaluate attributes of faces: a run, face weights with heads, or any system's probabilities."""
    from apps.attributes.evaluate import evaluate_predictions, evaluate_run, evaluate_weights
    from apps.engine.core.console import Console

    if sum(item is not None for item in (checkpoint, weights, predictions)) != 1:
        raise click.UsageError("give one of --checkpoint RUN, --weights W and --predictions F")
    if teacher is not None and checkpoint is None:
        raise click.UsageError("--teacher is for a run: give --checkpoint RUN")
    how = {name: rest.pop(name) for name in _OF_RUNS}
    if checkpoint is None:
        refuse_vain(context, _OF_RUNS, "is for a run: give --checkpoint RUN, or leave it out")
    if predictions is not None:
        refuse_vain(context, ("workers",), "is for a model: predictions are evaluated as is")
    if checkpoint is not None:
        emit(evaluate_run(
            checkpoint, data=data, teacher=teacher, split=split or "val", workers=workers,
            console=Console(), **how, **rest,
        ))
        return
    if data is None:
        raise click.UsageError("no validation photos; give --data DIR")
    if weights is not None:
        emit(evaluate_weights(
            weights, data=data, split=split or "val", workers=workers, console=Console(), **rest
        ))
    elif predictions is not None:
        emit(evaluate_predictions(predictions, data=data, split=split or "all", console=Console(), **rest))
