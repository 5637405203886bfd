"""``people list``: a row a person, or a row a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.faces.people.album import Album, Person, open_album
from apps.faces.people.identity import face_id


def list_people(table: Path, *, everybody: bool = False) -> list[dict[str, Any]]:
    """A line a person, the largest first.

    Args:
        table: made by ``embed-faces``.
        everybody: people with too few pictures for a cluster, too.

    Returns:
        ``{"id", "name", "pictures", "faces", "cohesion", "corrected", "from", "to", "perhaps", "offers"}``:
        dates of the first and the last photo, people who may be the same, and names of edited photos.

    Raises:
        OSError: the table is missing.
        ValueError: it or its corrections are damaged.
    """
    album = open_album(table)
    lines = []
    for person, proposed in _listed(album, everybody):
        dates = sorted(face.date for face in album.faces(person.rows) if face.date)
        lines.append({
            "id": person.id, "name": person.name, "pictures": person.pictures, "faces": len(person.rows),
            "cohesion": round(person.cohesion, 4), "corrected": person.corrected,
            "from": dates[0] if dates else None, "to": dates[-1] if dates else None,
            "perhaps": [_other(a, b, person).id for a, b, _ in album.doubts if person in (a, b)],
            "offers": proposed,
        })
    return lines


def list_faces(table: Path, *, everybody: bool = False) -> list[dict[str, Any]]:
    """A row a face, person by person, the most typical face first.

    Args:
        table: made by ``embed-faces``.
        everybody: people with too few pictures for a cluster, too.

    Returns:
        ``{"id", "path", "face", "box", "date", "person", "name", "corrected"}``; the person is the sign of
        its most typical face.

    Raises:
        OSError: the table is missing.
        ValueError: it or its corrections are damaged.
    """
    album = open_album(table)
    return [
        {"id": face_id(face.sha256, face.face), "path": face.path, "face": face.face,
         "box": [round(value, 1) for value in face.box], "date": face.date, "person": person.id,
         "name": person.name, "corrected": row in album.known.corrected}
        for person, _ in _listed(album, everybody)
        for row, face in zip(person.rows.tolist(), album.faces(person.rows), strict=True)
    ]


def _listed(album: Album, everybody: bool) -> list[tuple[Person, list[str]]]:
    """The people to be listed, each with the names that its faces are offered."""
    offers = {offer.row: offer.name for offer in album.offers}
    proposed = [
        (person, sorted({offers[row] for row in person.rows.tolist() if row in offers}))
        for person in album.people
    ]
    return [
        (person, names) for person, names in proposed
        if person.number < album.clusters or everybody or person.name or names
    ]


def _other(first: Person, second: Person, person: Person) -> Person:
    return second if first is person else first
