"""``cluster-faces``: a table of faces to people, a list of them, and a contact sheet in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.files import json_line, whole_set, writable_folder, write_text
from apps.engine.reporting.html import render, thumbnail_or_grey
from apps.faces.extraction.opening import open_by_name
from apps.faces.people.album import Album, Person, open_album
from apps.faces.people.corrections import edit_corrections
from apps.faces.people.gallery import Match
from apps.faces.people.identity import face_id

CLUSTERS_SHOWN, FACES_SHOWN, ALONE_SHOWN, DOUBTS_SHOWN = 200, 12, 200, 50
MARGIN = 0.25  # of the box, around each face of the sheet
SHEET, LISTING = "index.html", "clusters.jsonl"

Tile = tuple[Image.Image, str, str]


def cluster_faces(
    table: Path, out: Path, *, far: float | None = None, threshold: float | None = None, min_size: int = 2,
    console: Console,
) -> dict[str, Any]:
    """Sort the faces of a table by person.

    Args:
        table: made by ``embed-faces``.
        out: folder for ``index.html`` and ``clusters.jsonl``.
        far: accepted rate of false accepts a comparison; None for the usual one.
        threshold: of one comparison, a cosine, instead of ``far``.
        min_size: pictures of the smallest cluster, 2 or more.
        console: where words and progress go.

    Returns:
        ``{"faces", "clusters", "alone", "largest", "cohesion", "threshold", "doubtful", "offers",
        "corrections", "contradictions", "sheet", "list", ...}``; the cohesion is the mean over the clusters,
        alone are faces of people with fewer pictures, the largest cluster is counted in pictures.

    Raises:
        OSError: the table is missing, or the folder cannot be written.
        ValueError: the table is damaged or empty, or no threshold is known for its model.
    """
    album = open_album(table, far=far, threshold=threshold, min_size=min_size)
    writable_folder(out)
    write_sheet(album, out, console)
    with edit_corrections(table) as corrections:
        corrections.settings = {"far": far, "threshold": threshold, "min_size": min_size}
        corrections.sheets = sorted({*corrections.sheets, str(out.absolute())})
    clusters = album.people[: album.clusters]
    return {
        "faces": len(album.gallery), "clusters": len(clusters),
        "alone": len(album.gallery) - sum(len(person.rows) for person in clusters),
        "largest": max((person.pictures for person in clusters), default=0),
        "cohesion": round(float(np.mean([p.cohesion for p in clusters])), 4) if clusters else None,
        "threshold": round(album.limit.similarity, 6), "false_accept_rate": album.limit.false_accept_rate,
        "doubtful": len(album.doubts), "offers": len(album.offers),
        "corrections": len(album.corrections.entries), "contradictions": album.known.contradictions,
        "sheet": str(out / SHEET), "list": str(out / LISTING),
    }


def write_sheet(album: Album, out: Path, console: Console) -> None:
    """The contact sheet and the list of an album into a folder.

    Raises:
        OSError: it cannot be written.
    """
    lines = [
        {"cluster": person.number, "id": person.id, "name": person.name, "size": person.pictures,
         "cohesion": round(person.cohesion, 4),
         "faces": [
             {"path": face.path, "face": face.face, "id": face_id(face.sha256, face.face), "date": face.date}
             for face in album.faces(person.rows)],
         "perhaps": [{"id": other.id, "name": other.name, "similarity": round(similarity, 4)}
                     for other, similarity in _doubts_of(album, person)]}
        for person in album.people[: album.clusters]
    ]
    page = _page(album, console)
    with whole_set():
        write_text(out / LISTING, "".join(f"{json_line(line)}\n" for line in lines))
        write_text(out / SHEET, page)


def _doubts_of(album: Album, person: Person) -> list[tuple[Person, float]]:
    first = [(b, similarity) for a, b, similarity in album.doubts if a is person]
    return first + [(a, similarity) for a, b, similarity in album.doubts if b is person]


def _page(album: Album, console: Console) -> str:
    clusters = album.people[: album.clusters]
    alone = [int(row) for person in album.people[album.clusters :] for row in person.rows]
    shown = clusters[:CLUSTERS_SHOWN]
    people = []
    with console.track("contact sheet", len(shown)) as update:
        for done, person in enumerate(shown, 1):
            listed = _listed(album, person.rows) if len(person.rows) > FACES_SHOWN else []
            people.append((person, _tiles(album, person.rows[:FACES_SHOWN]), listed))
            update(done, "clusters")
    doubts = [
        (similarity, _tiles(album, [first.rows[0], second.rows[0]]))
        for first, second, similarity in album.doubts[:DOUBTS_SHOWN]
    ]
    offers = [
        (face_id(face.sha256, face.face), face.path, offer.name)
        for offer, face in zip(album.offers, album.faces([o.row for o in album.offers]), strict=True)
    ]
    return render(
        Path(__file__).with_name("contact_sheet.html"), title="People", total=len(album.gallery),
        people=people, clusters=len(clusters), clustered=sum(len(person.rows) for person in clusters),
        most=FACES_SHOWN, alone=_tiles(album, alone[:ALONE_SHOWN]),
        others=_listed(album, alone[ALONE_SHOWN:]), doubts=doubts, offers=offers,
        corrections=album.corrections.entries,
    )


def _listed(album: Album, rows: Any) -> list[tuple[str, str]]:
    return [(face_id(face.sha256, face.face), face.path) for face in album.faces(rows)]


def _tiles(album: Album, rows: Sequence[int] | Any) -> list[Tile]:
    return [_tile(face) for face in album.faces(rows)]


def _tile(face: Match) -> Tile:
    """A picture of a face, its sign, and the image's name."""
    image = thumbnail_or_grey(lambda _: _thumbnail(face), face.path)
    return image, face_id(face.sha256, face.face), Path(face.path).name


def _thumbnail(face: Match) -> Image.Image:
    """A square around the face, cut from its image."""
    opened = open_by_name(face.path)
    x1, y1, x2, y2 = (value / opened.enlarge for value in face.box)
    half = max(x2 - x1, y2 - y1) * (0.5 + MARGIN)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    box = (left, top, min(opened.image.width, int(x + half)), min(opened.image.height, int(y + half)))
    if left >= box[2] or top >= box[3]:
        raise ValueError(f"{face.path} is another photo than when it was embedded")
    return opened.image.crop(box)
