"""``embed-faces``, ``verify-faces``, ``search-faces``, ``cluster-faces``, ``enroll``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from apps.cli.options import FOLDER
from apps.cli.output import emit, refuse_vain

WHICH, ALIGNMENTS, DETECTORS = ("all", "largest", "one"), ("five-point", "none"), ("mtcnn", "ssd")


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_model = _options(
    click.option("--checkpoint", type=FOLDER, help="a run's folder, made by `finetune faces`"),
    click.option("--weights", help="face weights, instead of a run: a path or a name"),
)
_align = click.option(
    "--align", type=click.Choice(ALIGNMENTS), default="five-point", show_default=True,
    help="turn faces upright by their landmarks, or none: the images are face crops already",
)
_detector = click.option(
    "--detector", type=click.Choice(DETECTORS), default="mtcnn", show_default=True,
    help="what finds faces; ssd is one network on MobileNetV1, fetched once, that needs no torch",
)
_gallery = click.option("--gallery", type=FOLDER, required=True, help="table of faces, made by embed-faces")
_workers = click.option("--workers", type=click.IntRange(1), help="threads that read and detect")
_limit = _options(
    click.option("--far", type=float, help="accepted rate of false accepts a comparison  [default: 1e-3]"),
    click.option("--threshold", type=float, help="least cosine of one person's faces, instead of --far"),
)


def _named(checkpoint: Path | None, weights: str | None, table: Path | None) -> dict[str, Any]:
    """Which network embeds: what is named, else that of the table, else the published one."""
    if checkpoint is not None and weights is not None:
        raise click.UsageError("give either --checkpoint RUN or --weights W, or neither")
    if checkpoint is None and weights is None:
        from apps.engine.core.console import Console
        from apps.faces.extraction.table import read_about
        from apps.zoo.defaults import default_weights

        if table is not None and table.exists():
            model = read_about(table).model
            weights, checkpoint = model.weights, None if model.checkpoint is None else Path(model.checkpoint)
        else:
            weights = default_weights("faces", Console())
    return {"weights": weights, "checkpoint": checkpoint}


@click.command("embed-faces")
@click.argument("paths", nargs=-1, required=True)
@click.option("--out", type=FOLDER, required=True, help="table of faces to make or to go on with, .parquet")
@_model
@click.option(
    "--faces", "which", type=click.Choice(WHICH), default="all", show_default=True,
    help="faces of an image; one refuses images with several",
)
@_align
@_detector
@_workers
@click.pass_context
def embed_faces(
    context: click.Context, paths: tuple[str, ...], out: Path, checkpoint: Path | None, weights: str | None,
    which: Any, align: Any, detector: Any, workers: int | None,
) -> None:
    """Find the faces on images and turn each into a unit vector, in one table.

    PATHS are images, folders, patterns, .tar shards, or - for a list of such on stdin. Images that the table
    has already are skipped; stopped and started again, it goes on. Under torchrun the work is shared.
    """
    from apps.engine.core.console import Console
    from apps.faces.extraction.embed_faces import Order
    from apps.faces.extraction.embed_faces import embed_faces as make_table
    from apps.faces.extraction.loading import load_face_model

    model = load_face_model(**_named(checkpoint, weights, out))
    answer = make_table(paths, Order(out, which, align, workers=workers, detector=detector), model, Console())
    if answer is not None:
        emit(answer)
        context.exit(1 if 0 < answer["photos"] == answer["unreadable"] else 0)


@click.command("verify-faces")
@click.argument("first", metavar="A", type=FOLDER)
@click.argument("second", metavar="B", type=FOLDER)
@_model
@_align
@_detector
@_limit
def verify_faces(
    first: Path, second: Path, checkpoint: Path | None, weights: str | None, align: Any, detector: Any,
    far: float | None, threshold: float | None,
) -> None:
    """Tell whether the largest faces of two images are of one person."""
    from apps.faces.extraction.loading import load_face_model
    from apps.faces.people.search import verify

    model = load_face_model(**_named(checkpoint, weights, None))
    emit(verify(first, second, model, align=align, far=far, threshold=threshold, detector=detector))


@click.command("search-faces")
@click.argument("query", type=FOLDER)
@_gallery
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="matches a face at most")
@_model
@_detector
@_limit
def search_faces(
    query: Path, gallery: Path, top: int, checkpoint: Path | None, weights: str | None, detector: Any,
    far: float | None, threshold: float | None,
) -> None:
    """Find the people on an image in a table of faces; strangers are called unknown.

    The model is the one that made the table.
    """
    from apps.faces.people.gallery import Gallery
    from apps.faces.people.search import gallery_model, search

    if checkpoint is not None and weights is not None:
        raise click.UsageError("give either --checkpoint RUN or --weights W, or neither")
    opened = Gallery.open(gallery)
    model = gallery_model(opened, weights=weights, checkpoint=checkpoint)
    emit(search(query, opened, model, top=top, far=far, threshold=threshold, detector=detector))


@click.command("enroll")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True)
@_gallery
@_model
@_align
@_detector
@_workers
@click.pass_context
def enroll(
    context: click.Context, name: str, paths: tuple[str, ...], gallery: Path, checkpoint: Path | None,
    weights: str | None, align: Any, detector: Any, workers: int | None,
) -> None:
    """Put a person into a gallery by NAME, from images that show that person alone.

    A gallery that is there has its own model.
    """
    from apps.engine.core.console import Console
    from apps.faces.people.search import enroll as put

    model = _named(checkpoint, weights, gallery)
    asked = context.get_parameter_source("align") is not click.core.ParameterSource.DEFAULT
    answer = put(
        name, paths, gallery, **model, align=align if asked else None, workers=workers, console=Console(),
        detector=detector,
    )
    emit(answer)
    context.exit(1 if answer["photos"] and not answer["faces"] else 0)


@click.command("cluster-faces")
@click.argument("table", metavar="FACES", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="folder for the contact sheet and the list")
@click.option(
    "--min-size", type=click.IntRange(2), default=2, show_default=True, help="faces of the smallest cluster"
)
@_limit
def cluster_faces(table: Path, out: Path, min_size: int, far: float | None, threshold: float | None) -> None:
    """Sort a table of faces by person, with a contact sheet to look through."""
    from apps.engine.core.console import Console
    from apps.faces.people.contact_sheet import cluster_faces as sort

    emit(sort(table, out, far=far, threshold=threshold, min_size=min_size, console=Console()))


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
@_workers
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


COMMANDS = (embed_faces, verify_faces, search_faces, cluster_faces, enroll)
