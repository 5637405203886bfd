"""``embed-faces``, ``verify-faces``, ``evaluate faces``, and ``evaluate attributes``, of the same crops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER, PARTS, runner_options
from apps.cli.output import DEVICE, ENGINE, EVERY, PRECISION, VIDEOS, Count, emit, refuse_vain, sampling_of
from apps.engine.core.device import Compute
from apps.engine.core.settings import MOST_WORKERS
from apps.engine.scale.stores import is_url

WHICH, ALIGNMENTS, DETECTORS = ("all", "largest", "one"), ("five-point", "none"), ("mtcnn", "ssd")
_OF_RUNS = ("precision", "engine", "device")


def options_of(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


MODEL_OPTIONS = options_of(
    click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune faces`"),
    click.option("--weights", help="face weights, instead of a run: a path or a name"),
)
ALIGN = click.option(
    "--align", type=click.Choice(ALIGNMENTS), default="five-point", show_default=True,
    help="turn faces upright by their landmarks, or none: the images are face crops already",
)
DETECTOR = click.option(
    "--detector", type=click.Choice(DETECTORS), default="mtcnn", show_default=True,
    help="what finds faces; ssd is one network on MobileNetV1, fetched once, that needs no torch",
)
WHERE = options_of(ENGINE, DEVICE)
GALLERY = click.option("--gallery", type=FOLDER, required=True, help="table of faces, made by embed-faces")
_COUNT = Count(1, MOST_WORKERS, "each is a thread")
THREADS = click.option("--workers", type=_COUNT, help="threads that read and detect")
LIMIT = options_of(
    click.option("--far", type=float, help="accepted rate of false accepts a comparison  [default: 1e-3]"),
    click.option("--threshold", type=float, help="least cosine of one person's faces, instead of --far"),
)


def named_model(checkpoint: Path | None, weights: str | None, table: Path | None) -> dict[str, Any]:
    """Which network embeds: what is named, else that of the table, else the published one."""
    if checkpoint is not None and weights is not None:
        raise click.UsageError("give either --checkpoint RUN or --weights W, or neither")
    if checkpoint is None and weights is None:
        from apps.engine.core.console import Console
        from apps.faces.extraction.table import read_about, tables_of
        from apps.zoo.defaults import default_weights

        if table is not None and tables_of(table):
            model = read_about(table).model
            weights, checkpoint = model.weights, None if model.checkpoint is None else Path(model.checkpoint)
        else:
            weights = default_weights("faces", Console())
    return {"weights": weights, "checkpoint": checkpoint}


def check_table(flag: str, table: Path) -> None:
    """Refuse a name of another kind of file, and a folder: what is written is one Parquet file.

    Raises:
        click.UsageError: see above.
    """
    if table.is_dir():
        raise click.UsageError(f"{flag} {table} is a folder of parts; give a table in one file, .parquet")
    if table.suffix.lower() not in ("", ".parquet"):
        raise click.UsageError(f"{flag} {table} is to be a .parquet file; give one of that name")


@click.command("embed-faces")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(), required=True,
    help="table of faces to make or to go on with, .parquet; or FOLDER/ of Parquet parts",
)
@MODEL_OPTIONS
@click.option(
    "--faces", "which", type=click.Choice(WHICH), default="all", show_default=True,
    help="faces of an image; one refuses images with several",
)
@ALIGN
@DETECTOR
@EVERY
@VIDEOS
@click.option("--workers", type=_COUNT, help="threads that read and detect, or processes of --runner")
@click.option("--prune", is_flag=True, help="take the rows of images that are gone out of the table")
@WHERE
@runner_options
@click.pass_context
def embed_faces(
    context: click.Context, /, paths: tuple[str, ...], out: str, checkpoint: Path | None, weights: str | None,
    every: float | None, videos: bool, engine: str, device: str, **how: Any,
) -> None:
    """Find the faces on images and turn each into a unit vector, in one table.

    PATHS are images, videos, folders, patterns, .tar shards, or - for a list of such on stdin. Images that
    the table has already are skipped; stopped and started again, it goes on. With --out FOLDER/, PATHS may be
    what `predict --out` takes, and parts are made as there.
    """
    from apps.engine.core.console import Console
    from apps.engine.scale import work
    from apps.faces.extraction import embed_faces as making
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.extraction.planning import Order

    parts = out.endswith("/") or is_url(out) or Path(out).is_dir()
    on_runner = _check_embedding(context, paths, out, parts)
    scale = {name: how.pop(name) for name in PARTS[1:]}
    try:
        by = work.Order(out, workers=how["workers"], **scale) if on_runner else None
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    compute = Compute(engine, device)
    model = load_face_model(**named_model(checkpoint, weights, Path(out)), compute=compute)
    order = Order(Path(out), compute=compute, sampling=sampling_of(every, videos), by=by, **how)
    if by is not None and parts:
        made = making.embed_into_parts(paths, by, order, model, Console())
        emit(made)
        context.exit(0 if made["failed"] < made["images"] else 1)
    answer = making.embed_faces(paths, order, model, Console())
    emit(answer)
    context.exit(1 if 0 < answer["photos"] == answer["unreadable"] else 0)


def _check_embedding(context: click.Context, paths: Sequence[str], out: str, parts: bool) -> bool:
    """Refuse what does not go together; whether something else than this process works.

    Raises:
        click.UsageError: see above.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise click.UsageError("embed-faces shares its work by --runner local or ray; leave torchrun out")
    if parts:
        refuse_vain(context, ("prune", "every", "videos"), "is for a table in one file, --out FILE.parquet")
        if "-" in paths:
            raise click.UsageError("- is for a table in one file; give a list of paths as a file, .txt")
        return True
    check_table("--out", Path(out))
    refuse_vain(context, ("shard_size",), "is for --out FOLDER/")
    if context.get_parameter_source("runner") is click.core.ParameterSource.DEFAULT:
        refuse_vain(context, ("image_seconds", "gpus"), "is for --runner, or for --out FOLDER/")
        return False
    return True


@click.command("verify-faces")
@click.argument("first", metavar="A", type=FOLDER)
@click.argument("second", metavar="B", type=FOLDER)
@MODEL_OPTIONS
@ALIGN
@DETECTOR
@LIMIT
@WHERE
def verify_faces(
    first: Path, second: Path, checkpoint: Path | None, weights: str | None, align: Any, detector: Any,
    far: float | None, threshold: float | None, engine: str, device: str,
) -> None:
    """Tell whether the largest faces of two images are of one person."""
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.people.search import verify

    compute = Compute(engine, device)
    model = load_face_model(**named_model(checkpoint, weights, None), compute=compute)
    emit(verify(
        first, second, model, align=align, far=far, threshold=threshold, detector=detector, compute=compute
    ))


def _numbers(_: click.Context, __: click.Parameter, text: str | None) -> list[int] | None:
    """``7,8`` as numbers."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as err:
        raise click.BadParameter(f"expected numbers such as 7,8, got {text!r}") from err


@click.command("faces")
@click.option("--checkpoint", "checkpoints", type=FOLDER, multiple=True, help="a run; may be repeated")
@click.option("--weights", multiple=True, help="face weights: a path or a name; may be repeated")
@click.option(
    "--predictions", type=FOLDER, multiple=True,
    help=".npz file with the arrays name and vector, such as a teacher's; may be repeated",
)
@click.option(
    "--data", type=FOLDER, required=True,
    help="LFW's layout with pairs.txt, an insightface .bin file, or a folder with a folder a person",
)
@click.option("--pairs", type=FOLDER, help="LFW's list of pairs, where it lies elsewhere")
@click.option("--folds", callback=_numbers, help="which folds of the list, such as 7,8  [default: all]")
@click.option(
    "--align", type=click.Choice(ALIGNMENTS), default="none", show_default=True,
    help="none for face crops, five-point for whole photos",
)
@click.option(
    "--teacher", type=FOLDER, help="file as those of --predictions; TAR is given as a share of its, too"
)
@click.option(
    "--mirror/--no-mirror", default=False, show_default=True,
    help="evaluate by the mean of the vectors of a face and of its mirror image",
)
@click.option(
    "--keep-thresholds/--no-keep-thresholds", default=False, show_default=True,
    help="write the thresholds found, for this --align, into the runs",
)
@click.option("--report", type=FOLDER, help="write report.html and its plots into this folder")
@THREADS
@click.pass_context
def evaluate_faces(context: click.Context, /, data: Path, **value: Any) -> None:
    """Evaluate face models: LFW's protocol, and every image against every other.

    Several models give a line each, and one table in the report.
    """
    from apps.engine.core.console import Console
    from apps.faces.verification.evaluate import evaluate_faces as evaluate_models

    if not any(value[name] for name in ("checkpoints", "weights", "predictions", "teacher")):
        raise click.UsageError("give --checkpoint RUN, --weights W or --predictions F, at least one")
    if not any(value[name] for name in ("checkpoints", "weights")):
        why = "is for --checkpoint and --weights: vectors of a file are evaluated as is"
        refuse_vain(context, ("align", "mirror", "workers"), why)
    for line in evaluate_models(data, console=Console(), **value):
        emit(line)


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


COMMANDS = (embed_faces, verify_faces)
