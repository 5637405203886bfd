"""``verify-faces`` and ``enroll``: an image of somebody against another, or into a gallery."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from apps.engine.core.console import Console
from apps.engine.core.device import AS_USUAL, Compute
from apps.faces.detection.detector import Detector
from apps.faces.extraction.embed_faces import embed_faces
from apps.faces.extraction.embedder import Align, FaceModel, Vectors
from apps.faces.extraction.extractor import DetectorName, Extraction, FaceExtractor, make_detector
from apps.faces.extraction.loading import here, load_face_model
from apps.faces.extraction.planning import Order
from apps.faces.extraction.sources import STDIN, Source, find_sources
from apps.faces.extraction.table import read_about
from apps.faces.people.corrections import edit_corrections, person_name, read_corrections
from apps.faces.people.gallery import Gallery
from apps.faces.people.identity import names_of, ref_of
from apps.faces.verification.thresholds import Threshold, find_threshold


@dataclass(frozen=True)
class Query:
    """An image of somebody, embedded.

    Args:
        looked: what was found in it.
        vectors: (N, D), one for each face, largest first.
    """

    looked: Extraction
    vectors: Vectors


def embed_photo(path: Path, model: FaceModel, align: Align, detector: Detector) -> Query:
    """All faces of one image as vectors.

    Args:
        path: of the image.
        model: to embed with.
        align: how the faces are cut out.
        detector: what finds them.

    Raises:
        FileNotFoundError: there is no such image.
        ValueError: it cannot be read, or shows no face.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a photo")
    looked = FaceExtractor(model.info.resolution, "all", align, detector)(Source(str(path), path))
    if looked.problem:
        hint = "" if not looked.readable else "; give a photo of a face, or a crop with --align none"
        raise ValueError(f"{path}: {looked.problem}{hint}")
    return Query(looked, model.vectors(looked.images))


def verify(
    first: Path, second: Path, model: FaceModel, *, align: Align, far: float | None, threshold: float | None,
    detector: DetectorName = "mtcnn", compute: Compute = AS_USUAL,
) -> dict[str, Any]:
    """Whether the largest faces of two images are of the same person.

    Args:
        first: an image.
        second: another.
        model: to embed with.
        align: how the faces are cut out.
        far: accepted rate of false accepts; None for the usual one.
        threshold: least cosine, instead of the one that belongs to ``far``.
        detector: what finds the faces.
        compute: by what, and where, they are found.

    Returns:
        ``{"same", "similarity", "threshold", "false_accept_rate", "photos": [...]}``.

    Raises:
        OSError: an image is missing.
        ValueError: an image shows no face, or no threshold is known for the model.
    """
    limit = find_threshold(model.info, align, far=far, threshold=threshold)
    finder = make_detector(detector, align, compute=compute)
    queries = [embed_photo(path, model, align, finder) for path in (first, second)]
    similarity = float(queries[0].vectors[0] @ queries[1].vectors[0])
    return {
        "same": similarity >= limit.similarity, "similarity": round(similarity, 6), **limit_of(limit),
        "photos": [
            {"path": str(path), "faces": len(query.looked.crops), **place_of(query.looked, 0)}
            for path, query in zip((first, second), queries, strict=True)
        ],
    }


def enroll(
    name: str, paths: Sequence[str], table: Path, *, weights: str | None, checkpoint: Path | None,
    align: Align | None, workers: int | None, console: Console, stdin: TextIO | None = None,
    detector: DetectorName = "mtcnn", compute: Compute = AS_USUAL,
) -> dict[str, Any]:
    """Put the faces of one person into a gallery, new or there already, under a name.

    Args:
        name: of the person.
        paths: images that show exactly one face each, as for ``embed-faces``.
        table: the gallery.
        weights: of a new gallery; one that is there brings its own.
        checkpoint: of a new gallery, instead of weights.
        align: of a new gallery; None takes that of the gallery, or five points.
        workers: threads that read and detect.
        console: where words and progress go.
        stdin: where a path ``-`` is read from.
        detector: what finds the faces.
        compute: by what, and where, faces are found and embedded.

    Returns:
        ``{"name", "gallery", "faces", "photos", "skipped", "refused": [{"path", "reason"}], "seconds"}``.

    Raises:
        OSError: a path is missing, or the gallery cannot be written.
        ValueError: the name cannot be one, or the gallery was made by another model.
    """
    name = person_name(name)
    there = read_about(table) if table.exists() else None
    if there is not None:
        align = align or there.align
        if weights is None and checkpoint is None:
            weights = None if there.model.weights is None else here(there.model.weights)
            checkpoint = None if there.model.checkpoint is None else Path(there.model.checkpoint)
    model = load_face_model(weights=weights, checkpoint=checkpoint, compute=compute)
    order = Order(table, "one", align or "five-point", name, workers, detector, compute=compute)
    listed = (stdin or sys.stdin).read() if STDIN in paths else ""
    done = embed_faces(paths, order, model, console, stdin=io.StringIO(listed))
    if done["photos"] and not done["new_faces"] and not done["refused"]:
        console.warn(
            f"{table}: the faces on these photos were forgotten, so they stay out; take other photos of "
            f"{name}, or another gallery"
        )
    if table.exists() and read_corrections(table).entries:
        _overrule(table, name, {source.name for source in find_sources(paths, io.StringIO(listed))})
    return {
        "name": name, "gallery": str(table), "faces": done["new_faces"], "photos": done["photos"],
        "skipped": done["skipped"], "refused": done["refused"], "seconds": done["seconds"],
    }


def _overrule(table: Path, name: str, photos: set[str]) -> None:
    """What is enrolled now wins over what a correction said before of the same faces."""
    gallery = Gallery.open(table)
    with edit_corrections(table) as corrections:
        names = names_of(gallery, corrections)
        columns = (gallery.column(key).to_pylist() for key in ("path", "name"))
        faces = [
            ref_of(gallery, row) for row, (path, enrolled) in enumerate(zip(*columns, strict=True))
            if path in photos and enrolled == name and names.get(row) != name
        ]
        if faces:
            corrections.add("name", faces, name=name, source="enroll")


def gallery_model(
    gallery: Gallery, *, weights: str | None = None, checkpoint: Path | None = None,
    compute: Compute = AS_USUAL,
) -> FaceModel:
    """The model that a gallery was made by, or the one that is asked for, held against it.

    Raises:
        OSError: it is not where it was.
        ValueError: it is another than the gallery's; the message names both.
    """
    if weights is None and checkpoint is None:
        made_by = gallery.about.model
        weights = None if made_by.weights is None else here(made_by.weights)
        checkpoint = None if made_by.checkpoint is None else Path(made_by.checkpoint)
    model = load_face_model(weights=weights, checkpoint=checkpoint, compute=compute)
    gallery.check_model(model.info)
    return model


def limit_of(limit: Threshold, comparisons: int | None = None) -> dict[str, Any]:
    """The threshold and what it lets through; against a gallery, also in the whole search."""
    far = limit.false_accept_rate
    answer = {"threshold": round(limit.similarity, 6), "false_accept_rate": far, "rate_from": limit.source}
    if comparisons is not None:
        whole = None if far is None else round(1 - (1 - far) ** comparisons, 6)
        answer["false_accept_rate_of_search"] = whole
    return answer


def place_of(looked: Extraction, number: int) -> dict[str, Any]:
    """Where a face is, and how sure the detector was."""
    crop = looked.crops[number]
    probability = crop.face.probability
    return {
        "face": number, "box": [round(value, 1) for value in crop.face.box],
        "probability": None if probability is None else round(probability, 4),
    }
