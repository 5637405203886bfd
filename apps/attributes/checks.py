"""What ``check attributes`` looks for: values that contradict what holds for all other images."""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations

import numpy as np

from apps.engine.data.problems import Problem, Problems, Survey, sorted_by_score
from datasets.base import ImageDataset
from datasets.multilabel import MultiLabelDataset, Values

EXPECTED = 20  # images that should have a pair of values by chance, so that its rarity means something
RARE = 0.02  # of the expected number, up to which a pair is a contradiction
LASTING = 0.97  # share of people whose photos agree, from which on an attribute is of the person
LEAST_PEOPLE, LEAST_PHOTOS = 20, 3
KINDS = ("contradicting_attributes", "contradicting_people", "conflicting_copies")


def attribute_problems(survey: Survey) -> Problems:
    """Problems of attributes by kind, over all splits together."""
    results: Problems = {kind: [] for kind in KINDS}
    splits = [images for images in survey.splits.values() if isinstance(images, MultiLabelDataset)]
    for images in splits:
        results["contradicting_attributes"] += contradictions(images)
        results["contradicting_people"] += changing_people(images)
    results["conflicting_copies"] = _copies(survey)
    return {kind: sorted_by_score(problems) for kind, problems in results.items()}


def contradictions(images: MultiLabelDataset) -> list[Problem]:
    """Images with a pair of values that hardly any image has, though chance alone would give it to many.

    So are bald with bangs, or no beard with a goatee, without a list of what excludes what.
    """
    values = images.values
    yes, no = values == 1, values == 0
    results, seen = [], set()
    for a, b in permutations(range(len(images.classes)), 2):
        for first, second, words in ((yes, yes, "and"), (yes, no, "and not")):
            if words == "and" and a > b:
                continue
            known = ~np.isnan(values[:, a]) & ~np.isnan(values[:, b])
            both = np.flatnonzero(first[:, a] & second[:, b])
            expected = first[known, a].mean() * second[known, b].sum() if known.any() else 0.0
            if not len(both) or expected < EXPECTED or len(both) > RARE * expected:
                continue
            for row in both.tolist():
                if row not in seen:
                    seen.add(row)
                    path = images.photos[row].path
                    what = f"{images.classes[a]} {words} {images.classes[b]}"
                    text = f"{path} is {what}, as {len(both)} of {len(images)} are ({expected:.0f} by chance)"
                    results.append(Problem(text, (path,), (what,), (), expected / len(both)))
    return results


def changing_people(images: MultiLabelDataset) -> list[Problem]:
    """Photos whose value of a lasting attribute is not that of the person's other photos."""
    people: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(images.people or ()):
        people[person].append(row)
    several = {person: rows for person, rows in people.items() if len(rows) >= LEAST_PHOTOS}
    if len(several) < LEAST_PEOPLE:
        return []
    results = []
    for column, name in enumerate(images.classes):
        odd = {person: _odd(images.values[rows, column]) for person, rows in several.items()}
        if not any(len(rows) for rows in odd.values()):
            continue
        agree = sum(not len(rows) for rows in odd.values()) / len(several)
        varied = np.nanstd([np.nanmean(images.values[rows, column]) for rows in several.values()])
        if agree < LASTING or varied < 0.1:
            continue
        for person, rows in odd.items():
            for n in rows:
                row = several[person][n]
                path, value = images.photos[row].path, "" if images.values[row, column] == 1 else "not "
                text = f"{path} is {value}{name}, unlike the other {len(several[person]) - 1} of {person}"
                results.append(Problem(text, (path,), (f"{value}{name}: {person}",), (), agree))
    return results


def _odd(values: Values) -> list[int]:
    """The places that hold the rarer of two values."""
    yes, no = np.flatnonzero(values == 1).tolist(), np.flatnonzero(values == 0).tolist()
    return min(yes, no, key=len)


def _copies(survey: Survey) -> list[Problem]:
    """Copies of one picture with different values."""
    results = []
    for places in survey.copies:
        rows = [(images, index) for split, index in places if (images := _labelled(survey.splits[split]))]
        if len(rows) < 2:
            continue
        (images, first), *others = rows
        names = {
            images.classes[column]
            for other, index in others if other.classes == images.classes
            for column in np.flatnonzero(np.abs(images.values[first] - other.values[index]) == 1).tolist()
        }
        if names:
            paths = tuple(part.photos[index].path for part, index in rows)
            text = f"{paths[0]} and {paths[1]} show the same and differ in {', '.join(sorted(names))}"
            results.append(Problem(text, paths, tuple(path.name for path in paths)))
    return results


def _labelled(images: ImageDataset) -> MultiLabelDataset | None:
    return images if isinstance(images, MultiLabelDataset) else None
