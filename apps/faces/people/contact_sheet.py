"""``cluster-faces``: a table of faces to clusters, a list of them, and a contact sheet in one HTML file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder, write_text
from apps.engine.reporting.html import render, thumbnail_or_grey
from apps.faces.extraction.sources import open_by_name
from apps.faces.extraction.table import read_about
from apps.faces.people.cluster import Labels, cluster_gallery, cohesion
from apps.faces.people.gallery import Gallery, Match
from apps.faces.verification.thresholds import find_threshold

CLUSTERS_SHOWN, FACES_SHOWN = 200, 12
MARGIN = 0.25  # of the box, around each face of the sheet


@dataclass(frozen=True)
class Cluster:
    """One person's faces, as far as the vectors tell.

    Args:
        number: 0 the largest.
        rows: of the gallery, the most typical face first.
        cohesion: mean cosine of all pairs, -1 to 1.
        name: the most frequent name among its enrolled faces.
    """

    number: int
    rows: Labels
    cohesion: float
    name: str | None


def cluster_faces(
    table: Path, out: Path, *, far: float | None = None, threshold: float | None = None, min_size: int = 2,
    console: Console,
) -> dict[str, Any]:
    """Sort the faces of a table by person.

    Args:
        table: made by ``embed-faces``.
        out: folder for ``index.html`` and ``clusters.jsonl``.
        far: accepted rate of false accepts a comparison; None for the usual one.
        threshold: least average cosine of one person's faces, instead of ``far``.
        min_size: faces of the smallest cluster, 2 or more.
        console: where words and progress go.

    Returns:
        ``{"faces", "clusters", "alone", "largest", "cohesion", "threshold", "sheet", "list", ...}``; the
        cohesion is the mean over the clusters.

    Raises:
        OSError: the table is missing, or the folder cannot be written.
        ValueError: the table is damaged or empty, or no threshold is known for its model.
    """
    about = read_about(table)
    limit = find_threshold(about.model, about.align, far=far, threshold=threshold)
    gallery = Gallery.open(table)
    writable_folder(out)
    labels = cluster_gallery(gallery, limit.similarity, min_size=min_size)
    clusters = list(_clusters(gallery, labels))
    lines = (
        {"cluster": c.number, "name": c.name, "size": len(c.rows), "cohesion": round(c.cohesion, 4),
         "faces": [{"path": face.path, "face": face.face} for face in gallery.rows(c.rows)]}
        for c in clusters
    )
    listing, page = "".join(f"{json.dumps(line)}\n" for line in lines), _page(gallery, clusters, console)
    write_text(out / "clusters.jsonl", listing)
    write_text(out / "index.html", page)
    return {
        "faces": len(gallery), "clusters": len(clusters), "alone": int((labels < 0).sum()),
        "largest": max((len(c.rows) for c in clusters), default=0),
        "cohesion": round(float(np.mean([c.cohesion for c in clusters])), 4) if clusters else None,
        "threshold": round(limit.similarity, 6), "false_accept_rate": limit.false_accept_rate,
        "sheet": str(out / "index.html"), "list": str(out / "clusters.jsonl"),
    }


def _clusters(gallery: Gallery, labels: Labels) -> Iterator[Cluster]:
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        number = int(labels[rows[0]])
        if number < 0:
            continue
        vectors = gallery.vectors(rows)
        typical = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")
        names = Counter(face.name for face in gallery.rows(rows) if face.name is not None)
        name = names.most_common(1)[0][0] if names else None
        yield Cluster(number, rows[typical], cohesion(vectors), name)


def _page(gallery: Gallery, clusters: list[Cluster], console: Console) -> str:
    shown = clusters[:CLUSTERS_SHOWN]
    people = []
    with console.track("contact sheet", len(shown)) as update:
        for done, cluster in enumerate(shown, 1):
            people.append((cluster, [_tile(face) for face in gallery.rows(cluster.rows[:FACES_SHOWN])]))
            update(done, "clusters")
    return render(
        Path(__file__).with_name("contact_sheet.html"), title="People", faces=len(gallery), people=people,
        clusters=len(clusters), clustered=sum(len(c.rows) for c in clusters), most=FACES_SHOWN,
    )


def _tile(face: Match) -> tuple[Image.Image, int, str]:
    """A picture of a face, its number in its image, and the image's name."""
    image = thumbnail_or_grey(lambda _: _thumbnail(face), face.path)
    return image, face.face, Path(face.path).name


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
