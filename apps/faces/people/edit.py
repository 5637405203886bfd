"""``people``: names, merges, splits, and what is taken back; kept beside the table, bound at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from apps.engine.core.console import Console
from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.upkeep import finish_forgetting
from apps.faces.people.album import Album, clusters_path, open_album
from apps.faces.people.contact_sheet import LISTING, SHEET, write_sheet
from apps.faces.people.corrections import (
    Box,
    Correction,
    FaceRef,
    corrections_path,
    edit_corrections,
    person_name,
    read_corrections,
)
from apps.faces.people.gallery import Match
from apps.faces.people.identity import ref_of

SIGN = re.compile(r"([0-9a-f]{6,64})-(\d{1,6})")
NUMBERED = re.compile(r"(.+)#(\d{1,6})")
NAMES_SHOWN = 5  # in an error


def name_person(table: Path, who: str, name: str, *, only_face: bool = False) -> dict[str, Any]:
    """Give a person, or one face, a name; those who had it already are the same person.

    Args:
        table: made by ``embed-faces``.
        who: a name, a face's sign such as ``3f2a9c1b77aa-0``, ``PHOTO#FACE``, or a photo with one face.
        name: one line, 200 letters at most.
        only_face: the face alone, not all faces of its cluster.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: nobody is called so, or the name cannot be one.
    """
    new = person_name(name)
    album = open_album(table)
    rows = _face_rows(album, who) if only_face else _rows(album, who)
    entry = _say(table, "name", album, rows, name=new)
    return _answer(entry, rows, name=new)


def merge_people(table: Path, into: str, others: Sequence[str]) -> dict[str, Any]:
    """Make one person of several; the name is the first's, where it has none that of the first that has one.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: nobody is called so.
    """
    album = open_album(table)
    groups = [_rows(album, who) for who in (into, *others)]
    names = [album.known.names[row] for rows in groups for row in rows if row in album.known.names]
    rows = sorted({row for group in groups for row in group})
    entry = _say(table, "name", album, rows, name=names[0]) if names else _say(table, "same", album, rows)
    return _answer(entry, rows, name=entry.name)


def split_faces(table: Path, faces: Sequence[str]) -> dict[str, Any]:
    """Take faces out of their person; together they are another one, without a name.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: there is no such face, or nobody would be left.
    """
    album = open_album(table)
    rows = sorted({row for who in faces for row in _face_rows(album, who)})
    whole = {row for face in rows for row in album.person_of(face).rows.tolist()}
    rest = sorted(whole - set(rows))
    if not rest:
        raise ValueError("these are all faces of the person, so there is nothing to split; name fewer")
    entry = _say(table, "split", album, rows, rest, unnamed=rows)
    return _answer(entry, rows, apart_from=len(rest))


def same_person(table: Path, first: str, second: str) -> dict[str, Any]:
    """Two faces are of one person.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: there is no such face, or the two have two names.
    """
    album = open_album(table)
    groups = [_face_rows(album, who) for who in (first, second)]
    names = [album.known.names.get(rows[0]) for rows in groups]
    if None not in names and names[0] != names[1]:
        raise ValueError(
            f"the faces are named {names[0]!r} and {names[1]!r}; make one person of these: "
            f"people merge {table} {names[0]!r} {names[1]!r}"
        )
    rows = sorted({row for group in groups for row in group})
    return _answer(_say(table, "same", album, rows), rows)


def not_same_person(table: Path, first: str, second: str) -> dict[str, Any]:
    """Two faces are of two people; where both have one name, the second loses it.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: there is no such face, or both are one.
    """
    album = open_album(table)
    faces, others = (_face_rows(album, who) for who in (first, second))
    if set(faces) & set(others):
        raise ValueError(f"{first} and {second} are one face, or copies of one")
    names = album.known.names
    shared = names.get(faces[0]) is not None and names.get(faces[0]) == names.get(others[0])
    entry = _say(table, "not-same", album, faces, others, unnamed=others if shared else ())
    return _answer(entry, faces, apart_from=len(others))


def undo(table: Path, number: int | None = None) -> dict[str, Any]:
    """Take a correction back, the last one where none is named.

    Raises:
        OSError: the corrections cannot be written.
        ValueError: there is none, or none of this number.
    """
    with edit_corrections(table) as corrections:
        if not corrections.entries:
            raise ValueError(f"{corrections_path(table)} holds no correction to take back")
        last = corrections.entries[-1].number if number is None else number
        gone = [entry for entry in corrections.entries if entry.number == last]
        if not gone:
            numbers = ", ".join(str(entry.number) for entry in corrections.entries[-NAMES_SHOWN:])
            raise ValueError(f"there is no correction {last}; the last ones are {numbers}")
        corrections.entries = [entry for entry in corrections.entries if entry.number != last]
    return {"undone": gone[0].verb, "number": last, "name": gone[0].name, "faces": len(gone[0].faces)}


def forget(table: Path, who: str, console: Console) -> dict[str, Any]:
    """Remove a person for good: rows, vectors, names and the pictures on contact sheets.

    What is kept is which face of which photo is never to be embedded again, without its vector.

    Raises:
        FileExistsError: another process is at work on the table.
        OSError: the table or a sheet cannot be written.
        ValueError: nobody is called so.
    """
    with ResumableJob(table).locked():
        finish_forgetting(table)
        album = open_album(table)
        rows = _rows(album, who)
        names = {album.known.names[row] for row in rows if row in album.known.names}
        refs = _refs(album, rows)
        with edit_corrections(table) as corrections:
            gone: dict[str, list[Box]] = {}
            for digest, box in refs:
                gone.setdefault(digest, []).append(box)
            left = [entry.without(gone) for entry in corrections.entries]
            corrections.entries = [e for e in left if e is not None and e.name not in names]
            corrections.forgotten += [FaceRef(digest, box, "") for digest, box in sorted(set(refs))]
            corrections.unfinished = True
        finish_forgetting(table)
        clusters_path(table).unlink(missing_ok=True)
    kept = read_corrections(table).sheets
    sheets = [Path(sheet) for sheet in kept if (Path(sheet) / SHEET).is_file()]
    rewritten = _rewrite_sheets(table, sheets, console)
    photos = len({digest for digest, _ in refs})
    return {"forgotten": who, "faces": len(rows), "photos": photos, "sheets": rewritten}


def _rewrite_sheets(table: Path, sheets: list[Path], console: Console) -> list[str]:
    """Contact sheets without those who are forgotten; where nobody is left they are removed."""
    try:
        album = open_album(table) if sheets else None
    except ValueError:
        album = None  # the table is empty now
    for sheet in sheets:
        if album is None:
            for name in (SHEET, LISTING):
                (sheet / name).unlink(missing_ok=True)
        else:
            write_sheet(album, sheet, console)
    return [str(sheet) for sheet in sheets]


def _rows(album: Album, who: str) -> list[int]:
    """All faces of a person, named by name or by one of the faces.

    Raises:
        ValueError: nobody is called so.
    """
    named = {row for row, name in album.known.names.items() if name == who}
    if named:
        people = [p for p in album.people if p.name == who]
        free = {row for p in people for row in p.rows.tolist() if row not in album.known.names}
        return sorted(named | free)
    face = _face_rows(album, who)[0]
    return sorted(album.person_of(face).rows.tolist())


def _face_rows(album: Album, who: str) -> list[int]:
    """The rows of a face: several, where its photo lies in several places.

    Raises:
        ValueError: there is no such face, or several are meant.
    """
    sign, numbered = SIGN.fullmatch(who), NUMBERED.fullmatch(who)
    if sign:
        rows = _matching(album, lambda f: f.sha256.startswith(sign[1]) and f.face == int(sign[2]))
        if len({album.faces([row])[0].sha256 for row in rows}) > 1:
            raise ValueError(f"{who} is the beginning of several faces' signs; give more of it")
    elif numbered:
        place = str(Path(numbered[1]).absolute())
        rows = _matching(album, lambda f: f.path in (place, numbered[1]) and f.face == int(numbered[2]))
    else:
        place = str(Path(who).absolute())
        rows = _matching(album, lambda f: f.path in (place, who))
        if len(rows) > 1:
            raise ValueError(f"{who} has {len(rows)} faces; name one of them, such as {who}#0")
    if not rows:
        names = sorted(set(album.known.names.values()))
        known = f"known are {', '.join(names[:NAMES_SHOWN])}" if names else "nobody has a name yet"
        raise ValueError(f"nobody in {album.gallery.path} is called {who[:80]!r}, nor is it a face's sign "
                         f"or photo; {known}; `people list` shows all")
    return rows


def _matching(album: Album, fits: Any) -> list[int]:
    gallery = album.gallery
    columns = (gallery.column(name).to_pylist() for name in ("path", "sha256", "face"))
    return [
        row for row, (path, digest, face) in enumerate(zip(*columns, strict=True))
        if fits(Match(path, face, None, (), 0.0, digest))
    ]


def _say(
    table: Path, verb: Any, album: Album, rows: Iterable[int], others: Iterable[int] = (), *,
    unnamed: Iterable[int] = (), name: str | None = None,
) -> Correction:
    refs = [[ref_of(album.gallery, row) for row in some] for some in (rows, others, unnamed)]
    with edit_corrections(table) as corrections:
        return corrections.add(verb, refs[0], refs[1], unnamed=refs[2], name=name)


def _answer(entry: Correction, rows: Sequence[int], **more: Any) -> dict[str, Any]:
    return {"correction": entry.number, "verb": entry.verb, "faces": len(rows), **more}


def _refs(album: Album, rows: Sequence[int]) -> list[tuple[str, Box]]:
    refs = [ref_of(album.gallery, row) for row in rows]
    return [(ref.sha256, ref.box) for ref in refs]
