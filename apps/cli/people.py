"""``search-faces``, ``cluster-faces``, ``enroll``, and ``people``, which puts right what they answer."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from apps.cli.faces import (
    ALIGN,
    DETECTOR,
    GALLERY,
    LIMIT,
    MODEL_OPTIONS,
    THREADS,
    WHERE,
    check_table,
    named_model,
)
from apps.cli.options import FOLDER
from apps.cli.output import ANSWERS, FORMAT, emit, emit_rows, note
from apps.engine.core.console import quantity
from apps.engine.core.device import Compute

TABLE = click.argument("table", metavar="FACES", type=FOLDER)


@click.command("search-faces")
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True)
@GALLERY
@click.option("--top", type=ANSWERS, default=5, show_default=True, help="people and matches a face")
@MODEL_OPTIONS
@DETECTOR
@LIMIT
@THREADS
@FORMAT
@WHERE
@click.pass_context
def search_faces(
    context: click.Context, queries: tuple[str, ...], gallery: Path, top: int, checkpoint: Path | None,
    weights: str | None, detector: Any, far: float | None, threshold: float | None, workers: int | None,
    form: str, engine: str, device: str,
) -> None:
    """Tell who is on images, by the people in a table of faces; strangers are called unknown.

    QUERY is an image, a folder, a pattern, a .tar shard, or - for a list of such on stdin. The model is the
    one that made the table. An image that the table holds is not compared with itself.
    """
    from apps.faces.people.gallery import Gallery
    from apps.faces.people.search import gallery_model
    from apps.faces.people.who import Asked, search

    if checkpoint is not None and weights is not None:
        raise click.UsageError("give either --checkpoint RUN or --weights W, or neither")
    opened = Gallery.open(gallery)
    compute = Compute(engine, device)
    model = gallery_model(opened, weights=weights, checkpoint=checkpoint, compute=compute)
    asked = Asked(top, far, threshold, detector, workers or 1, compute)
    counts = {"error": 0, "good": 0}

    def lines() -> Iterator[dict[str, Any]]:
        for line in search(queries, opened, model, asked, sys.stdin):
            counts["error" if "error" in line else "good"] += 1
            yield line

    emit_rows(lines() if form == "json" else _face_lines(lines()), form)
    if counts["error"]:
        note(f"{counts['error']} of {quantity(sum(counts.values()), 'image')} could not be searched for")
    context.exit(0 if counts["good"] else 1)


def _face_lines(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row a face, of one shape."""
    for line in lines:
        for face in line.get("faces", [{}]):
            person, best = face.get("person") or {}, (face.get("matches") or [{}])[0]
            yield {
                "query": line["query"], "face": face.get("face"), "box": face.get("box"),
                "unknown": face.get("unknown"), "name": person.get("name"),
                "similarity": person.get("similarity", face.get("best_similarity")),
                "match": best.get("path"), "error": line.get("error"),
            }


@click.command("enroll")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True)
@GALLERY
@MODEL_OPTIONS
@ALIGN
@DETECTOR
@THREADS
@WHERE
@click.pass_context
def enroll(
    context: click.Context, name: str, paths: tuple[str, ...], gallery: Path, checkpoint: Path | None,
    weights: str | None, align: Any, detector: Any, workers: int | None, engine: str, device: str,
) -> None:
    """Put a person into a gallery by NAME, from images that show that person alone.

    A gallery that is there has its own model. `people name` names a face on a photo with several.
    """
    from apps.engine.core.console import Console
    from apps.faces.people.search import enroll as put

    check_table("--gallery", gallery)
    model = named_model(checkpoint, weights, gallery)
    asked = context.get_parameter_source("align") is not click.core.ParameterSource.DEFAULT
    answer = put(
        name, paths, gallery, **model, align=align if asked else None, workers=workers, console=Console(),
        detector=detector, compute=Compute(engine, device),
    )
    emit(answer)
    context.exit(1 if answer["photos"] and not answer["faces"] else 0)


@click.command("cluster-faces")
@TABLE
@click.option("--out", type=FOLDER, required=True, help="folder for the contact sheet and the list")
@click.option(
    "--min-size", type=click.IntRange(2), default=2, show_default=True, help="images of the smallest cluster"
)
@LIMIT
def cluster_faces(table: Path, out: Path, min_size: int, far: float | None, threshold: float | None) -> None:
    """Sort a table of faces by person, with a contact sheet to look through.

    Earlier corrections of `people` bind; later ones are about these clusters.
    """
    from apps.engine.core.console import Console
    from apps.faces.people.contact_sheet import cluster_faces as sort

    emit(sort(table, out, far=far, threshold=threshold, min_size=min_size, console=Console()))


@click.group()
def people() -> None:
    """Name, correct, list and forget the people of a table of faces.

    FACES is a table made by embed-faces. Corrections are kept beside it, hold for photos that are moved or
    embedded again, and bind cluster-faces and search-faces. WHO is a name, a face's sign as sheets and lists
    show it, PHOTO#NUMBER, or a photo with one face.
    """


@people.command("list")
@TABLE
@click.option("--all", "everybody", is_flag=True, help="people with one picture, too")
@click.option("--faces", is_flag=True, help="a row a face, not a row a person")
@FORMAT
def list_people(table: Path, everybody: bool, faces: bool, form: str) -> None:
    """List people with their signs, names, dates and doubts, the largest first."""
    from apps.faces.people.listing import list_faces
    from apps.faces.people.listing import list_people as listed

    emit_rows((list_faces if faces else listed)(table, everybody=everybody), form)


@people.command("name")
@TABLE
@click.argument("who")
@click.argument("name")
@click.option("--face", "only_face", is_flag=True, help="this face alone, not all faces of its cluster")
def name_person(table: Path, who: str, name: str, only_face: bool) -> None:
    """Give the person WHO, or one face, a NAME; all faces of one name are one person."""
    from apps.faces.people.edit import name_person as give

    emit(give(table, who, name, only_face=only_face))


@people.command("merge")
@TABLE
@click.argument("into", metavar="WHO")
@click.argument("others", metavar="WHO...", nargs=-1, required=True)
def merge_people(table: Path, into: str, others: tuple[str, ...]) -> None:
    """Make one person of several; the first name stays."""
    from apps.faces.people.edit import merge_people as merge

    emit(merge(table, into, others))


@people.command("split")
@TABLE
@click.argument("faces", metavar="FACE...", nargs=-1, required=True)
def split_faces(table: Path, faces: tuple[str, ...]) -> None:
    """Take faces out of their person; together they are another.

    FACE is a face's sign, as sheets and lists show it, PHOTO#NUMBER, or a photo with one face.
    """
    from apps.faces.people.edit import split_faces as split

    emit(split(table, faces))


@people.command("same")
@TABLE
@click.argument("first", metavar="FACE")
@click.argument("second", metavar="FACE")
def same_person(table: Path, first: str, second: str) -> None:
    """Say that two faces are of one person; FACE as for split."""
    from apps.faces.people.edit import same_person as same

    emit(same(table, first, second))


@people.command("not-same")
@TABLE
@click.argument("first", metavar="FACE")
@click.argument("second", metavar="FACE")
def not_same_person(table: Path, first: str, second: str) -> None:
    """Say that two faces are of two people; FACE as for split."""
    from apps.faces.people.edit import not_same_person as not_same

    emit(not_same(table, first, second))


@people.command("undo")
@TABLE
@click.argument("number", type=int, required=False)
def undo(table: Path, number: int | None) -> None:
    """Take a correction back: the last, or that of a NUMBER on the sheet."""
    from apps.faces.people.edit import undo as take_back

    emit(take_back(table, number))


@people.command("forget")
@TABLE
@click.argument("who")
def forget(table: Path, who: str) -> None:
    """Remove a person for good: rows, vectors, names, and the pictures on contact sheets."""
    from apps.engine.core.console import Console
    from apps.faces.people.edit import forget as remove

    check_table("FACES", table)
    emit(remove(table, who, Console()))


@people.command("folders")
@TABLE
@click.option("--out", type=FOLDER, required=True, help="folder for a folder a person")
def folders(table: Path, out: Path) -> None:
    """Make a folder a person, with a link to each photo that shows them."""
    from apps.faces.people.folders import link_people

    emit(link_people(table, out))


@people.command("write-xmp")
@TABLE
@click.option("--out", type=FOLDER, help="folder for the sidecars  [default: beside the photos]")
def write_xmp(table: Path, out: Path | None) -> None:
    """Write the names as face regions into XMP sidecars, as digiKam, Lightroom and immich read them.

    Photos are never touched; what else a sidecar holds stays.
    """
    from apps.faces.people.sidecars import write_sidecars

    emit(write_sidecars(table, out))


@people.command("read-xmp")
@TABLE
@click.option("--from", "folder", type=FOLDER, help="folder of the sidecars  [default: beside the photos]")
@click.option("--older", is_flag=True, help="sidecars that are older than their photo, too")
def read_xmp(table: Path, folder: Path | None, older: bool) -> None:
    """Take names from the face regions of XMP sidecars; they are corrections like others."""
    from apps.faces.people.sidecars import read_sidecars

    emit(read_sidecars(table, folder, older=older))


COMMANDS = (search_faces, cluster_faces, enroll, people)
