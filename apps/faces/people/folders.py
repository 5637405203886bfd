"""``people folders``: a folder a person, with a link to each photo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from apps.engine.core.files import made_folder, writable_folder
from apps.faces.extraction.sources import holder_of, time_in
from apps.faces.people.album import Person, open_album

FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f]')  # in names of files, on one system or another
LONGEST = 100


def link_people(table: Path, out: Path) -> dict[str, Any]:
    """Make a folder a person with a symbolic link to each photo; what is there already stays.

    Links of this table's photos that no longer belong to a person are removed; other files are left alone.

    Args:
        table: made by ``embed-faces``.
        out: folder for the folders.

    Returns:
        ``{"people", "links", "packed", "removed", "kept", "out"}``: photos in tar shards get no link and
        are counted; kept are files of other making in their place.

    Raises:
        OSError: the table is missing, or the folder cannot be written.
        ValueError: the table or its corrections are damaged.
    """
    album = open_album(table)
    writable_folder(out)
    counts = {"people": 0, "links": 0, "packed": 0, "removed": 0, "kept": 0}
    photos = set(map(_file, album.gallery.column("path").to_pylist()))
    wanted: dict[Path, str] = {}
    for person in album.people:
        if person.number >= album.clusters and person.name is None:
            continue
        counts["people"] += 1
        for path in sorted({_file(face.path) for face in album.faces(person.rows)}):
            if holder_of(path) is not None:
                counts["packed"] += 1
                continue
            wanted[_free(out / folder_name(person), Path(path), wanted)] = path
    for link in [place for place in out.glob("*/*") if place.is_symlink() and place not in wanted]:
        if str(link.readlink()) in photos:
            link.unlink()
            counts["removed"] += 1
    for link, path in wanted.items():
        made_folder(link.parent)
        if link.is_symlink():
            link.unlink()
        if link.exists():
            counts["kept"] += 1
            continue
        link.symlink_to(path)
        counts["links"] += 1
    for folder in out.iterdir():
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    return {**counts, "out": str(out)}


def _file(name: str) -> str:
    """What a link leads to: of a frame its video."""
    holder = holder_of(name)
    return str(holder) if holder is not None and time_in(name) is not None else name


def folder_name(person: Person) -> str:
    """What the folder of a person is called."""
    name = FORBIDDEN.sub("_", person.name or "").strip(" .").encode("utf-8", "replace")[:LONGEST]
    return name.decode("utf-8", "ignore") or f"person-{person.id}"


def _free(folder: Path, photo: Path, taken: dict[Path, str]) -> Path:
    """A name for a link in a folder that no other photo has."""
    link, number = folder / photo.name, 2
    while taken.get(link, str(photo)) != str(photo):
        link, number = folder / f"{photo.stem}-{number}{photo.suffix}", number + 1
    return link
