"""``verify-faces`` and ``search-faces``: images of people against an image, and against a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from apps.engine.core.console import Console
from apps.faces.detection.detector import Detector
from apps.faces.extraction.embed_faces import Order, embed_faces
from apps.faces.extraction.embedder import Align, FaceModel, Vectors
from apps.faces.extraction.extractor import DetectorName, Extraction, FaceExtractor, make_detector
from apps.faces.extraction.loading import load_face_model
from apps.faces.extraction.sources import Source
from apps.faces.extraction.table import read_about
from apps.faces.people.gallery import Gallery, Match
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
    detector: DetectorName = "mtcnn",
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

    Returns:
        ``{"same", "similarity", "threshold", "false_accept_rate", "photos": [...]}``.

    Raises:
        OSError: an image is missing.
        ValueError: an image shows no face, or no threshold is known for the model.
    """
    limit = find_threshold(model.info, align, far=far, threshold=threshold)
    finder = make_detector(detector, align)
    queries = [embed_photo(path, model, align, finder) for path in (first, second)]
    similarity = float(queries[0].vectors[0] @ queries[1].vectors[0])
    return {
        "same": similarity >= limit.similarity, "similarity": round(similarity, 6), **_limit(limit),
        "photos": [
            {"path": str(path), "faces": len(query.looked.crops), **_place(query, 0)}
            for path, query in zip((first, second), queries, strict=True)
        ],
    }


def search(
    query: Path, gallery: Gallery, model: FaceModel, *, top: int, far: float | None, threshold: float | None,
    detector: DetectorName = "mtcnn",
) -> dict[str, Any]:
    """Who in a gallery the faces of an image are; strangers are said to be unknown.

    Args:
        query: an image with one or more faces.
        gallery: to search in.
        model: the gallery's.
        top: matches a face at most, 1 or more.
        far: accepted rate of false accepts a comparison; None for the usual one.
        threshold: least cosine, instead of the one that belongs to ``far``.
        detector: what finds the faces.

    Returns:
        ``{"query", "faces": [{"face", "box", "unknown", "best_similarity", "matches"}, ...], ...}``.

    Raises:
        OSError: the image is missing.
        ValueError: the gallery is another model's, the image shows no face, or no threshold is known.
    """
    gallery.check_model(model.info)
    align: Any = gallery.about.align
    limit = find_threshold(model.info, align, far=far, threshold=threshold)
    result = embed_photo(query, model, align, make_detector(detector, align))
    similarities, rows = gallery.search(result.vectors, top)
    faces = []
    for number in range(len(result.vectors)):
        near = gallery.matches(similarities[number], rows[number])
        known = [match for match in near if match.similarity >= limit.similarity]
        faces.append({
            **_place(result, number), "unknown": not known, "best_similarity": round(near[0].similarity, 6),
            "matches": [_rounded(item) for item in known],
        })
    return {"query": str(query), "faces": faces, **_limit(limit, len(gallery)), "gallery_faces": len(gallery)}


def enroll(
    name: str, paths: Sequence[str], table: Path, *, weights: str | None, checkpoint: Path | None,
    align: Align | None, workers: int | None, console: Console, stdin: TextIO | None = None,
    detector: DetectorName = "mtcnn",
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

    Returns:
        ``{"name", "gallery", "faces", "photos", "skipped", "refused": [{"path", "reason"}], "seconds"}``.

    Raises:
        OSError: a path is missing, or the gallery cannot be written.
        ValueError: the name is empty, or the gallery was made by another model.
    """
    if not name.strip():
        raise ValueError("a person needs a name, got an empty one")
    there = read_about(table) if table.exists() else None
    if there is not None:
        align = align or there.align
        if weights is None and checkpoint is None:
            weights = there.model.weights
            checkpoint = None if there.model.checkpoint is None else Path(there.model.checkpoint)
    model = load_face_model(weights=weights, checkpoint=checkpoint)
    order = Order(table, "one", align or "five-point", name.strip(), workers, detector)
    done = embed_faces(paths, order, model, console, stdin=stdin)
    if done is None:
        raise ValueError("enroll is not shared between processes; start it without torchrun")
    return {
        "name": name.strip(), "gallery": str(table), "faces": done["faces"], "photos": done["photos"],
        "skipped": done["skipped"], "refused": done["refused"], "seconds": done["seconds"],
    }


def gallery_model(
    gallery: Gallery, *, weights: str | None = None, checkpoint: Path | None = None
) -> FaceModel:
    """The model that a gallery was made by, or the one that is asked for, held against it.

    Raises:
        OSError: it is not where it was.
        ValueError: it is another than the gallery's; the message names both.
    """
    if weights is None and checkpoint is None:
        made_by = gallery.about.model
        weights = made_by.weights
        checkpoint = None if made_by.checkpoint is None else Path(made_by.checkpoint)
    model = load_face_model(weights=weights, checkpoint=checkpoint)
    gallery.check_model(model.info)
    return model


def _limit(limit: Threshold, comparisons: int | None = None) -> dict[str, Any]:
    """The threshold and what it lets through; against a gallery, also in the whole search."""
    far = limit.false_accept_rate
    answer = {"threshold": round(limit.similarity, 6), "false_accept_rate": far, "rate_from": limit.source}
    if comparisons is not None:
        whole = None if far is None else round(1 - (1 - far) ** comparisons, 6)
        answer["false_accept_rate_of_search"] = whole
    return answer


def _rounded(match: Match) -> dict[str, Any]:
    return asdict(match) | {
        "similarity": round(match.similarity, 6), "box": [round(value, 1) for value in match.box],
    }


def _place(query: Query, number: int) -> dict[str, Any]:
    crop = query.looked.crops[number]
    probability = crop.face.probability
    return {
        "face": number, "box": [round(value, 1) for value in crop.face.box],
        "probability": None if probability is None else round(probability, 4),
    }
