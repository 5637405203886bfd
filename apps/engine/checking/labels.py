"""Likely wrong labels: what a probe says of images that it did not learn from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.engine.data.problems import MOVE, Move, Problem, sorted_by_score
from datasets.base import ImageDataset

FOLDS = 5
STRENGTH = 1e-3  # of the probe: inverse of the L2 term on standardised features
LEAST_IMAGES = 2 * FOLDS  # with fewer there is nothing to learn from
CLEARLY = 0.5  # of a class's usual probability, by which it must be likelier than the label
SURE = 0.5  # least probability of another class for a move
Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


def out_of_fold(features: Floats, labels: Labels, *, seed: int = 0) -> Floats:
    """The probabilities of each image's classes, by a linear probe that learned from the other folds.

    Args:
        features: (N, C).
        labels: (N,) class numbers; a class with fewer images than folds may be unknown to some of them.
        seed: of the folds.

    Shape:
        returns: (N, K), K the largest label and one.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    result = np.zeros((len(labels), int(labels.max()) + 1))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of classes with fewer members than folds
        for learned, held in folds.split(scaled, labels):
            probe = LogisticRegression(C=STRENGTH, max_iter=200).fit(scaled[learned], labels[learned])
            result[np.ix_(held, probe.classes_)] = probe.predict_proba(scaled[held])
    return result


@dataclass(frozen=True)
class Doubts:
    """What probabilities say of labels.

    Args:
        order: the images, the likeliest mistake first.
        doubtful: (N,) whether an image's label is likely wrong.
        instead: (N,) the class that it looks like.
        margin: (N,) probability of that class less that of the label.
    """

    order: Labels
    doubtful: NDArray[np.bool_]
    instead: Labels
    margin: Floats


def label_doubts(probabilities: Floats, labels: Labels) -> Doubts:
    """Which labels are likely wrong.

    A label is doubtful where another class is likelier, by half of what that class gets on average on the
    images that have its label.

    Args:
        probabilities: (N, K) of images that the probe did not learn from.
        labels: (N,).

    Source:
        Northcutt, Jiang and Chuang 2021, "Confident Learning", JAIR 70, section 3.1 (thresholds by class;
        theirs are on the probability of the other class, and met fewer: docs/check.md).
    """
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1
    instead = others.argmax(axis=1)
    margin = others[rows, instead] - given
    usual = np.array([
        given[labels == k].mean() if (labels == k).any() else 1.0 for k in range(probabilities.shape[1])
    ])
    doubtful = margin > CLEARLY * usual[instead]
    return Doubts(np.argsort(-margin, kind="stable"), doubtful, instead, margin)


def label_problems(
    splits: Mapping[str, ImageDataset], features: Mapping[str, NDArray[np.float32]], *, seed: int = 0
) -> list[Problem]:
    """The likely wrong labels of single-label images, the surest first.

    Args:
        splits: the images.
        features: (N, C) of each split; rows that are not finite are of unreadable images.
        seed: of the folds.
    """
    places = [(split, index) for split, values in features.items() for index in range(len(values))]
    values = np.concatenate(list(features.values()))
    labels = np.array([splits[split].photos[index].label for split, index in places], np.int64)
    readable = np.flatnonzero(np.isfinite(values).all(axis=1))
    known = [n for n in readable.tolist() if np.count_nonzero(labels[readable] == labels[n]) > 1]
    if len(known) < LEAST_IMAGES or len(set(labels[known].tolist())) < 2:
        return []
    probabilities = out_of_fold(values[known], labels[known], seed=seed)
    doubts = label_doubts(probabilities, labels[known])
    results = []
    for row in np.flatnonzero(doubts.doubtful).tolist():
        split, index = places[known[row]]
        images = splits[split]
        photo, name = images.photos[index], images.classes[int(doubts.instead[row])]
        share = probabilities[row, doubts.instead[row]]
        given = images.classes[photo.label]
        moves = (Move(photo.path, MOVE, name),) if share >= SURE else ()
        text = f"{photo.path} is labelled {given!r} and looks like {name!r} ({share:.0%})"
        caption = f"{split}: {given}; looks like {name} ({share:.0%})"
        results.append(Problem(text, (photo.path,), (caption,), moves, float(doubts.margin[row])))
    return sorted_by_score(results)
