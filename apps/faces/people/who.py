"""``search-faces``: who is on photos, by the people of a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow.compute as pc

from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.data.in_order import in_order
from apps.faces.extraction.embedder import FaceModel, Vectors
from apps.faces.extraction.extractor import DetectorName, Extraction, FaceExtractor, make_detector
from apps.faces.extraction.sources import STDIN, Source, find_sources, with_frames
from apps.faces.people.agglomerate import Labels
from apps.faces.people.corrections import read_corrections
from apps.faces.people.gallery import Gallery, Match
from apps.faces.people.identity import face_id, names_of
from apps.faces.people.search import embed_photo, limit_of, place_of
from apps.faces.verification.thresholds import Threshold, find_threshold
from datasets.video import is_video

UNNAMED = 200  # rows looked at beyond those asked for, as some of them may have names
NAMED_AT_ONCE = 65_536  # rows whose vectors are copied out at once


@dataclass(frozen=True)
class Asked:
    """How a gallery is searched.

    Args:
        top: people and matches a face at most, 1 or more.
        far: accepted rate of false accepts a comparison; None for the usual one.
        threshold: least cosine, instead of the one that belongs to ``far``.
        detector: what finds the faces.
        workers: threads that read and detect.
        compute: by what, and where, faces are found.
    """

    top: int = 5
    far: float | None = None
    threshold: float | None = None
    detector: DetectorName = "mtcnn"
    workers: int = 1
    compute: Compute = AS_USUAL


class People:
    """The people of a gallery by name, and all its faces.

    Args:
        gallery: to search in.
        limit: from which similarity on two faces are of one person.
    """

    def __init__(self, gallery: Gallery, limit: Threshold) -> None:
        self.gallery, self.limit = gallery, limit
        self.names = names_of(gallery, read_corrections(gallery.path))
        self.rows: Labels = np.array(sorted(self.names), dtype=np.int64)
        by_row = [self.names[int(row)] for row in self.rows]
        self.people, self.person = np.unique(np.array(by_row, dtype=object).astype(str), return_inverse=True)

    def itself(self, look: Extraction) -> Labels:
        """The rows of a photo in the gallery, wherever copies of it lie."""
        same: list[Labels] = [np.zeros(0, np.int64)]
        for start, batch in zip(self.gallery.starts[:-1], self.gallery.batches, strict=True):
            by_sum = pc.equal(batch.column("sha256"), look.sha256)
            here = pc.or_(by_sum, pc.equal(batch.column("path"), look.source.name))
            same.append(np.flatnonzero(here.to_numpy(zero_copy_only=False)) + int(start))
        return np.concatenate(same)

    def answer(self, vectors: Vectors, left_out: Labels, top: int) -> list[dict[str, Any]]:
        """For each vector who it is: named people first, each by the best of their faces, then other faces.

        Args:
            vectors: (N, D) unit vectors.
            left_out: rows that are not compared.
            top: people, and matches, at most.
        """
        named = self._named(vectors, left_out)
        similarities, rows = self.gallery.search(vectors, top + len(left_out) + UNNAMED)
        return [
            self._verdict(named[number], similarities[number], rows[number], left_out, top)
            for number in range(len(vectors))
        ]

    def _named(self, vectors: Vectors, left_out: Labels) -> Vectors:
        """(N, rows with a name) similarities; those of rows that are left out are -inf."""
        parts = [np.zeros((len(vectors), 0), np.float32)]
        for start in range(0, len(self.rows), NAMED_AT_ONCE):
            parts.append(vectors @ self.gallery.vectors(self.rows[start : start + NAMED_AT_ONCE]).T)
        similarities = np.concatenate(parts, axis=1)
        similarities[:, np.isin(self.rows, left_out)] = -np.inf
        return similarities

    def _verdict(
        self, named: Vectors, similarities: Vectors, rows: Labels, left_out: Labels, top: int
    ) -> dict[str, Any]:
        limit = self.limit.similarity
        best = np.full(len(self.people), -np.inf, np.float32)
        np.maximum.at(best, self.person, named)
        enough = np.bincount(self.person[named >= limit], minlength=len(best))
        people = [
            {"name": str(self.people[number]), "similarity": round(float(best[number]), 6),
             "faces": int(enough[number])}
            for number in np.argsort(-best, kind="stable") if best[number] >= limit
        ]
        free = ~np.isin(rows, left_out) & ~np.isin(rows, self.rows)
        others = [(r, s) for r, s in zip(rows[free], similarities[free], strict=True) if s >= limit]
        order = [at for at in np.argsort(-named, kind="stable")[:top] if named[at] >= limit]
        mine = [(self.rows[at], named[at]) for at in order]
        matches = [self._match(int(row), float(s)) for row, s in [*mine, *others][:top]]
        top_free = similarities[~np.isin(rows, left_out)]
        nearest = max([*top_free[:1].tolist(), *best.tolist()], default=-np.inf)
        return {
            "unknown": not matches, "best_similarity": round(nearest, 6) if np.isfinite(nearest) else None,
            "person": people[0] if people else None, "people": people[:top], "matches": matches,
        }

    def _match(self, row: int, similarity: float) -> dict[str, Any]:
        (face,) = self.gallery.rows([row])
        return _listed(face) | {"name": self.names.get(row), "similarity": round(similarity, 6)}


def search(
    paths: Sequence[str], gallery: Gallery, model: FaceModel, asked: Asked, stdin: TextIO
) -> Iterator[dict[str, Any]]:
    """Who in a gallery the faces of photos are; strangers are said to be unknown.

    The photo itself is left out where the gallery holds it.

    Args:
        paths: photos, folders, patterns, ``.tar`` shards, or ``-`` for a list of such on ``stdin``.
        gallery: to search in.
        model: the gallery's.
        asked: how.
        stdin: where ``-`` is read from.

    Returns:
        ``{"query", "faces": [{"face", "box", "unknown", "best_similarity", "person", "people", "matches"}],
        ...}`` a photo; ``{"query", "error"}`` for one that is missing, cannot be read or shows no face.

    Raises:
        OSError: the only photo that is asked for is missing.
        ValueError: the gallery is another model's, no threshold is known, or the only photo that is asked for
            cannot be read or shows no face.
    """
    gallery.check_model(model.info)
    align: Any = gallery.about.align
    limit = find_threshold(model.info, align, far=asked.far, threshold=asked.threshold)
    people = People(gallery, limit)
    detector = make_detector(asked.detector, align, compute=asked.compute)
    single = len(paths) == 1 and paths[0] != STDIN and (Path(paths[0]).is_file() or not _is_pattern(paths[0]))
    several = Path(paths[0]).is_dir() or Path(paths[0]).suffix.lower() == ".tar" or is_video(Path(paths[0]))
    if single and not several:
        query = embed_photo(Path(paths[0]), model, align, detector)
        yield _answer(people, query.looked, query.vectors, paths[0], asked.top)
        return
    looker = FaceExtractor(model.info.resolution, "all", align, detector)
    sources, errors = _sources(paths, stdin)
    yield from errors
    for look in in_order(looker, with_frames(sources), asked.workers):
        if look.problem:
            yield {"query": look.source.name, "error": look.problem}
        else:
            yield _answer(people, look, model.vectors(look.images), look.source.name, asked.top)


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _sources(paths: Sequence[str], stdin: TextIO) -> tuple[list[Source], list[dict[str, Any]]]:
    """The photos of all paths, each once, and a line for each path that is not there."""
    lines = [line.strip("\r\n\ufeff") for line in stdin] if STDIN in paths else []
    named = [path for path in paths if path != STDIN] + [line for line in lines if line.strip()]
    sources: dict[str, Source] = {}
    errors = []
    for path in named:
        try:
            sources |= {source.name: source for source in find_sources([path], stdin)}
        except (OSError, ValueError) as err:
            errors.append({"query": path, "error": str(err)})
    return list(sources.values()), errors


def _answer(people: People, look: Extraction, vectors: Vectors, query: str, top: int) -> dict[str, Any]:
    itself = people.itself(look)
    verdicts = people.answer(vectors, itself, top)
    faces = [{**place_of(look, number), **verdict} for number, verdict in enumerate(verdicts)]
    compared = len(people.gallery) - len(itself)
    return {
        "query": query, "faces": faces, **limit_of(people.limit, compared),
        "gallery_faces": len(people.gallery), "left_out": len(itself),
    }


def _listed(match: Match) -> dict[str, Any]:
    values = asdict(match)
    digest = values.pop("sha256")
    return values | {"box": [round(value, 1) for value in match.box], "id": face_id(digest, match.face)}
