"""Classes that are too small, missing in a split, or meant to be one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from apps.engine.data.problems import Problem, Problems
from datasets.base import ImageDataset

LEAST = 10  # training images of a class; fewer are hardly learned from


def class_problems(splits: Mapping[str, ImageDataset]) -> Problems:
    """What is wrong with the classes of single-label images, as far as names and counts tell."""
    train = splits.get("train") or next(iter(splits.values()))
    counts = list(zip(train.classes, train.counts(), strict=True))
    rare = sorted((count, name) for name, count in counts if 0 < count < LEAST)
    absent = [
        (split, name) for split, images in splits.items()
        for name, count in zip(images.classes, images.counts(), strict=True) if not count
    ]
    return {
        "small_classes": [
            Problem(f"class {name!r} has {count} training photo{'s' * (count > 1)}; {LEAST} or more help")
            for count, name in rare
        ],
        "missing_classes": [Problem(f"class {name!r} has no photo in {split}") for split, name in absent],
        "similar_class_names": [Problem(text) for text in similar_names(train.classes)],
    }


def similar_names(names: Sequence[str]) -> list[str]:
    """A sentence on each group of class names that differ by case, blanks, hyphens or underscores alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[re.sub(r"[\s_-]+", "", name.casefold())].append(name)
    return [
        f"classes {' and '.join(map(repr, group))} differ by case or blanks alone: are they one?"
        for group in groups.values() if len(group) > 1
    ]
