"""What ``check faces`` looks for: folders that hold two people, and people in two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from apps.engine.data.problems import HOW, LEAVE_OUT, MOVE, Move, Problem, Problems, Survey, sorted_by_score
from datasets.base import ImageDataset
from datasets.faces.identities import Identities

LEAST_PHOTOS = 3  # of a folder that can hold a stranger
DOUBT = 0.25  # of the usual likeness in a folder, from which on a face is a stranger
KNOWN = 0.75  # of the usual likeness in a folder, from which on a stranger is the person of another folder
ONE_PERSON = 0.95  # of the usual likeness in a folder, from which on two folders are one person's
MOST_FOLDERS = 20_000  # between more nobody is compared
Vectors = NDArray[np.float32]
KINDS = ("mixed_folders", "split_people")


class People(Identities):
    """Photos by person, who are no classes: each has few photos."""

    single_label: ClassVar[bool] = False


def people_problems(survey: Survey) -> Problems:
    """Copies with two names; mixed folders and split people, as far as the face network tells them apart.

    Args:
        survey: its weights of ``faces`` look at the images; without them no faces are compared.
    """
    results: Problems = {"conflicting_copies": _copies(survey)}
    if "faces" not in survey.weights:
        survey.unlooked.append(f"{', '.join(KINDS)}: {HOW}")
        return results
    results |= {kind: [] for kind in KINDS}
    for images in survey.splits.values():
        paths, vectors = embedded(images, survey)
        labels = np.array([images.photos[n].label for n in paths], np.int64)
        photos = [images.photos[n].path for n in paths]
        for kind, problems in identity_problems(vectors, labels, photos, images.classes).items():
            results[kind] += problems
    return results


def _copies(survey: Survey) -> list[Problem]:
    """Copies of one picture in the folders of different people."""
    results = []
    for places in survey.copies:
        rows = [(survey.splits[split], index) for split, index in places]
        names = [images.classes[images.photos[index].label] for images, index in rows]
        if len(set(names)) > 1:
            paths = tuple(images.photos[index].path for images, index in rows)
            moves = tuple(Move(path, LEAVE_OUT) for path in paths)
            text = f"{paths[0]} and {paths[1]} show the same, but {' and '.join(sorted(set(names)))}"
            results.append(Problem(text, paths, tuple(names), moves))
    return results


def embedded(images: ImageDataset, survey: Survey) -> tuple[list[int], Vectors]:
    """The images that can be read, and their unit vectors."""
    from apps.engine.inference.pooled import features_of, pooled_model

    engine = pooled_model(survey.weights["faces"])
    results = {}
    with survey.console.track("looking at faces", len(images)) as update:
        vectors = features_of(engine, [photo.path for photo in images.photos])
        for number, vector in enumerate(vectors):
            update(number + 1, "photos")
            if vector is not None:
                results[number] = vector
    stacked = np.stack(list(results.values())) if results else np.zeros((0, 1), np.float32)
    return list(results), unit(stacked - stacked.mean(axis=0) if len(stacked) else stacked)


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1."""
    result: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result


def identity_problems(
    vectors: Vectors, labels: NDArray[np.int64], paths: Sequence[Path], people: Sequence[str]
) -> Problems:
    """Mixed folders and split people from unit vectors.

    A face is a stranger in its folder where it is nearer to the middle of another folder than to the faces
    around it, to their mean and to the nearest of them together. Two folders are of one person where their
    faces are as like each other as most faces are to those in their own folder.

    Args:
        vectors: (N, D) of length 1, less their mean.
        labels: (N,) the person of each.
        paths: N files.
        people: names by label.
    """
    folders = Folders(vectors, labels, list(paths), people)
    if folders.usual <= 0 or len(folders.members) < 2:
        return {kind: [] for kind in KINDS}
    return {"mixed_folders": _strangers(folders), "split_people": _split(folders)}


class Folders:
    """Vectors by folder.

    Attributes:
        members: label -> rows.
        order: labels, as the rows of ``middles``.
        within: (N,) mean likeness to the others of the folder; NaN for one alone.
        nearest: (N,) greatest likeness to one of the others.
        usual: the median of ``within``; 0 where nobody has two faces.
    """

    def __init__(
        self, vectors: Vectors, labels: NDArray[np.int64], paths: list[Path], people: Sequence[str]
    ) -> None:
        self.vectors, self.paths, self.people = vectors, paths, people
        self.members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.order = list(self.members)
        self.within, self.nearest = np.full((2, len(labels)), np.nan)
        for rows in self.members.values():
            if len(rows) > 1:
                likeness = vectors[rows] @ vectors[rows].T
                np.fill_diagonal(likeness, np.nan)
                self.within[rows] = np.nanmean(likeness, axis=1)
                self.nearest[rows] = np.nanmax(likeness, axis=1)
        known = self.within[np.isfinite(self.within)]
        self.usual = float(np.median(known)) if len(known) else 0.0
        middles = [vectors[rows].mean(axis=0) for rows in self.members.values()]
        self.middles = np.stack(middles) if middles else vectors


def _strangers(folders: Folders) -> list[Problem]:
    results = []
    for place, (label, rows) in enumerate(folders.members.items()):
        if len(rows) < LEAST_PHOTOS:
            continue
        likeness = folders.vectors[rows] @ folders.middles.T
        likeness[:, place] = -1
        other = likeness.argmax(axis=1)
        doubt = likeness.max(axis=1) - folders.within[rows] - folders.nearest[rows]
        strange = [int(n) for n in np.argsort(-doubt) if doubt[n] > DOUBT * folders.usual]
        if not strange:
            continue
        name, moves, captions = folders.people[label], [], []
        for n in strange:
            path, known = folders.paths[rows[n]], likeness[n, other[n]] >= KNOWN * folders.usual
            like = folders.people[folders.order[other[n]]]
            moves.append(Move(path, MOVE, like) if known else Move(path, LEAVE_OUT))
            captions.append(f"{path.name} in {name}" + (f"; looks like {like}" if known else ""))
        rest = [folders.paths[row] for n, row in enumerate(rows) if n not in strange][:1]
        text = f"folder {name!r} seems to hold somebody else on {len(strange)} of {len(rows)} photos"
        shown = (*(folders.paths[rows[n]] for n in strange), *rest)
        words = (*captions, *(f"others in {name}" for _ in rest))
        results.append(Problem(text, shown, words, tuple(moves), float(doubt.max())))
    return sorted_by_score(results)


def _split(folders: Folders) -> list[Problem]:
    if len(folders.order) > MOST_FOLDERS:
        return []
    between = np.triu(folders.middles @ folders.middles.T, 1)
    results = []
    for a, b in np.argwhere(between >= ONE_PERSON * folders.usual).tolist():
        name, other = (folders.people[folders.order[n]] for n in (a, b))
        rows = [folders.members[folders.order[n]] for n in (a, b)]
        text = f"folders {name!r} and {other!r} seem to hold one person ({between[a, b]:.2f})"
        moves = tuple(Move(folders.paths[row], MOVE, name) for row in rows[1])
        shown = tuple(folders.paths[part[0]] for part in rows)
        results.append(Problem(text, shown, (name, other), moves, float(between[a, b])))
    return sorted_by_score(results)
