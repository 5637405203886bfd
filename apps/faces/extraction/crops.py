"""Answers about each face: faces are found on photos, cut out, and heads answer for the crops."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.device import Compute
from apps.engine.core.run_values import run_values
from apps.engine.data.in_order import in_order
from apps.engine.inference.predictor import Predictor
from apps.faces import NO_FACE
from apps.faces.extraction.embedder import Align
from apps.faces.extraction.extractor import Extraction, FaceExtractor, as_detector, make_detector
from apps.faces.extraction.sources import Source, find_sources, with_frames
from datasets.file_kinds import ONE_A_SECOND, Sampling

PHOTOS = 16  # looked at before their faces are answered for


def predict_faces(
    paths: Iterable[Path], *, checkpoint: Path, app: str, crops: bool = False, workers: int | None = None,
    precision: str = "auto", engine: str = "auto", device: str = "auto", detector: str | None = None,
    sampling: Sampling = ONE_A_SECOND, say: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """A run's answer for each face, in the order of the photos, the largest face of a photo first.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: a run of an application that answers for faces, or weights that bring its head along.
        app: its name.
        crops: the photos are face crops already, like those that the run learned from.
        workers: threads that look for faces; None for one.
        precision: ``auto``, ``fp32`` or ``bf16``.
        engine: that finds the faces and answers for the crops; see :class:`Predictor`.
        device: see :class:`Predictor`.
        detector: what looks for faces; see :func:`make_detector`.
        sampling: which frames of videos.
        say: takes a line on what answers.

    Returns:
        ``{"path", "face", "box", ...}`` a face with the application's answer, box as (x1, y1, x2, y2)
        pixels of the photo; ``{"path", "error"}`` for a photo that cannot be read or shows no face.

    Raises:
        FileNotFoundError: a path or the run is missing.
        ValueError: the run is of another application, or the folders hold no photo.
    """
    if checkpoint.is_dir():
        run_values(checkpoint, app=app)
    sources = find_sources(map(str, paths), sys.stdin, sampling)
    if not sources:
        raise ValueError(f"no photo in {', '.join(map(str, paths))}; give photos or folders that hold some")
    predictor = Predictor(str(checkpoint), engine, device, precision=precision, app=app)
    if predictor.loaded.note:
        say(predictor.loaded.note)
    looked = faces_of(sources, predictor, crops=crops, workers=workers, detector=detector)
    for place, problem, faces in looked:
        if problem:
            yield place | {"error": problem}
        for face in faces:
            yield place | face


def faces_of(
    sources: Iterable[Source], predictor: Predictor, *, crops: bool = False, workers: int | None = None,
    detector: str | None = None,
) -> Iterator[tuple[dict[str, Any], str, list[dict[str, Any]]]]:
    """``(place, problem, faces)`` of each photo, in order; the place is ``{"path"}`` or that of a frame.

    Args:
        sources: the photos.
        predictor: that answers for crops; its engine and device find the faces, too.
        crops: the photos are face crops already.
        workers: threads that look for faces; None for one.
        detector: what looks for them; see :func:`make_detector`.

    Returns:
        The problem is empty where faces were found, and :data:`NO_FACE` where there is none. A face is
        ``{"face": number, "box": [x1, y1, x2, y2]}`` with its answer.
    """
    align: Align = "none" if crops else "five-point"
    finder = make_detector(
        as_detector(detector), align, compute=Compute(predictor.engine, predictor.device)
    )
    looker = FaceExtractor(predictor.loaded.spec.resolution, align=align, detector=finder)
    looked = in_order(looker, with_frames(sources), max(workers or 1, 1))
    while photos := list(islice(looked, PHOTOS)):
        yield from _answered(photos, predictor)


def _answered(
    photos: Sequence[Extraction], predictor: Predictor
) -> list[tuple[dict[str, Any], str, list[dict[str, Any]]]]:
    images = [np.asarray(image) for photo in photos for image in photo.images]
    results: Iterator[dict[str, Any]] = iter(())
    if images:
        results = iter([answer.to_dict() for answer in predictor.answers(np.stack(images))])
    result = []
    for photo in photos:
        faces = [
            {"face": number, "box": [round(float(v), 1) for v in crop.face.box]} | next(results)
            for number, crop in enumerate(photo.crops)
        ]
        result.append((photo.source.place(), "" if faces else photo.problem or NO_FACE, faces))
    return result
