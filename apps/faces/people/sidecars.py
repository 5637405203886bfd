"""``people write-xmp`` and ``people read-xmp``: names out to other programs' sidecars, and in from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.engine.core.files import made_folder, writable_folder, write_bytes
from apps.engine.inference.decode.overlap import box_iou
from apps.faces.extraction.sources import holder_of
from apps.faces.people.album import Album, open_album
from apps.faces.people.corrections import Box, FaceRef, edit_corrections, person_name
from apps.faces.people.gallery import Gallery, Match
from apps.faces.people.identity import known_of, ref_of
from apps.faces.people.xmp import Frame, Region, Sidecar
from datasets.geo.sidecars import sidecar_of
from datasets.image_io import BadImageError, stored_size
from datasets.outside import DiskError

NEAR = 0.2  # of the boxes of another program's region and of a face, from which they are of one face
SHOWN = 20  # refused sidecars in the answer


@dataclass
class Report:
    """What became of sidecars.

    Attributes:
        photos: whose sidecar was written or read.
        faces: that were written or named.
        unmatched: regions with a name where the table has no face.
        older: sidecars older than their photo.
        packed: photos in tar shards, which have no sidecar.
        refused: ``{"path", "reason"}`` of sidecars that were left as they are.
    """

    photos: int = 0
    faces: int = 0
    unmatched: int = 0
    older: int = 0
    packed: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, path: Path | str, reason: object) -> None:
        """Note a sidecar that is left as it is, or a photo that gets none."""
        self.refused.append({"path": str(path), "reason": " ".join(str(reason).split())})


def write_sidecars(table: Path, out: Path | None) -> dict[str, Any]:
    """The names of all people as face regions, in a sidecar a photo; photos are never touched.

    Args:
        table: made by ``embed-faces``.
        out: folder for new sidecars, laid out as the photos are; None for beside the photos, where sidecars
            that are there are kept and added to.

    Returns:
        ``{"photos", "faces", "packed", "refused"}``.

    Raises:
        OSError: the table is missing, or ``out`` cannot be written.
        ValueError: the table or its corrections are damaged.
    """
    album, report = open_album(table), Report()
    named = _named(album)
    if out is not None:
        writable_folder(out)
    top = _common(album.gallery.column("path").to_pylist())
    for path, faces in named.items():
        if holder_of(path) is not None:
            report.packed += 1
            continue
        photo = Path(path)
        target = sidecar_of(photo) or Path(f"{path}.xmp")
        target = target if out is None else out / f"{os.path.relpath(path, top)}.xmp"
        try:
            frame = Frame(*stored_size(photo))
            sidecar = Sidecar.read(target) if target.exists() else Sidecar()
            sidecar.put([Region(frame.to_stored(_box_of(face)), name) for face, name in faces], frame)
            made_folder(target.parent)
            write_bytes(target, sidecar.to_bytes())
        except DiskError:
            raise
        except (BadImageError, OSError, ValueError) as err:
            report.refuse(target, err)
            continue
        report.photos, report.faces = report.photos + 1, report.faces + len(faces)
    return {
        "photos": report.photos, "faces": report.faces, "packed": report.packed,
        "refused": report.refused[:SHOWN], "refused_count": len(report.refused),
    }


def read_sidecars(table: Path, folder: Path | None, *, older: bool = False) -> dict[str, Any]:
    """Names from the face regions of sidecars, as corrections.

    Args:
        table: made by ``embed-faces``.
        folder: where sidecars lie as :func:`write_sidecars` lays them out; None for beside the photos.
        older: take those that are older than their photo, too.

    Returns:
        ``{"photos", "faces", "people", "unmatched", "older", "refused"}``.

    Raises:
        OSError: the table is missing, or the corrections cannot be written.
        ValueError: the table or its corrections are damaged.
    """
    gallery, report = Gallery.open(table), Report()
    by_photo: dict[str, list[int]] = {}
    for row, path in enumerate(gallery.column("path").to_pylist()):
        by_photo.setdefault(path, []).append(row)
    top = _common(list(by_photo))
    results: dict[str, list[FaceRef]] = {}
    with edit_corrections(table) as corrections:
        names = known_of(gallery, corrections).names
        for path, rows in by_photo.items():
            below = f"{os.path.relpath(path, top)}.xmp"
            sidecar = sidecar_of(Path(path)) if folder is None else folder / below
            if sidecar is None or not sidecar.is_file():
                continue
            if not older and _is_older(sidecar, Path(path)):
                report.older += 1
                report.refuse(sidecar, "it is older than its photo; --older takes it all the same")
                continue
            for row, name in _read(gallery, Path(path), rows, sidecar, report):
                if names.get(row) != name:
                    results.setdefault(name, []).append(ref_of(gallery, row))
        for name, faces in sorted(results.items()):
            corrections.add("name", faces, name=name, source="sidecar")
    return {
        "photos": report.photos, "faces": sum(map(len, results.values())), "people": len(results),
        "unmatched": report.unmatched, "older": report.older, "refused": report.refused[:SHOWN],
        "refused_count": len(report.refused),
    }


def _read(
    gallery: Gallery, photo: Path, rows: list[int], sidecar: Path, report: Report
) -> Iterator[tuple[int, str]]:
    """Row and name of each region that lies on a face."""
    try:
        frame = Frame(*stored_size(photo))
        regions = Sidecar.read(sidecar).regions(frame)
        named = [(frame.to_upright(r.box), person_name(r.name)) for r in regions if r.name]
    except (BadImageError, OSError, ValueError) as err:
        report.refuse(sidecar, err)
        return
    report.photos += 1
    faces = dict(zip(rows, gallery.rows(rows), strict=True))
    for box, name in named:
        near = [(float(box_iou(box, _box_of(face))), row) for row, face in faces.items()]
        common, row = max(near, default=(0.0, -1))
        if common < NEAR:
            report.unmatched += 1
            continue
        del faces[row]
        yield row, name


def _named(album: Album) -> dict[str, list[tuple[Match, str]]]:
    """The faces of each photo that have a name, or are in the cluster of a person who has."""
    named: dict[str, list[tuple[Match, str]]] = {}
    for person in album.people:
        for row, face in zip(person.rows.tolist(), album.faces(person.rows), strict=True):
            name = album.known.names.get(row, person.name)
            if name is not None:
                named.setdefault(face.path, []).append((face, name))
    return dict(sorted(named.items()))


def _common(paths: list[str]) -> str:
    """The folder that all photos lie in."""
    folders = [str((holder_of(path) or Path(path)).parent) for path in paths]
    return os.path.commonpath(folders) if folders else "/"


def _is_older(sidecar: Path, photo: Path) -> bool:
    try:
        return sidecar.stat().st_mtime < photo.stat().st_mtime
    except OSError:
        return False  # a photo that is gone says so itself


def _box_of(face: Match) -> Box:
    x1, y1, x2, y2 = face.box
    return x1, y1, x2, y2
