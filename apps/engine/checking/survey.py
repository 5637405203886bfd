"""``check``: all that looks wrong with a data set, in one answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.checking.classes import class_problems
from apps.engine.checking.copies import copy_problems, exact_copies, near_copies
from apps.engine.checking.fingerprints import Fingerprint, fingerprints
from apps.engine.checking.images import image_problems
from apps.engine.checking.labels import label_problems
from apps.engine.checking.moves import write_moves
from apps.engine.checking.page import write_check_page
from apps.engine.core.console import Console
from apps.engine.core.files import folder_for, whole_set
from apps.engine.core.registry import load_task
from apps.engine.core.task import AnyTask
from apps.engine.data.problems import HOW, Problem, Problems, Survey, counted
from datasets.base import ImageDataset

CLASSIFIER = "imagenet"  # the task whose weights look at images of one class
Prints = Mapping[str, list[Fingerprint]]


@dataclass(frozen=True)
class Seen:
    """What a check saw.

    Args:
        splits: the images that could be opened.
        problems: by kind; a kind that was looked for and not met has an empty list.
        notes: sentences of the readers.
        unlooked: why kinds were not looked for.
    """

    splits: Mapping[str, ImageDataset]
    problems: Problems
    notes: list[str]
    unlooked: list[str]


def check(
    name: str, data: Path, *, report: Path | None = None, fix: Path | None = None,
    weights: Mapping[str, str], console: Console,
) -> dict[str, Any]:
    """Look at a data set as an application would learn from it.

    Args:
        name: of the application.
        data: what ``finetune NAME --data`` takes.
        report: folder to write ``report.html`` into.
        fix: a table to write of what to move or leave out, which ``finetune --fix`` reads.
        weights: by task, what looks at the images; without any, no network is needed.
        console: where words and progress go.

    Returns:
        ``{"app", "data", "images", "splits", "problems", "notes", "not_checked", "seconds"}``, and ``report``
        and ``fix`` with ``moves``, where they were written.

    Raises:
        OSError: the data are missing, or something cannot be written.
        ValueError: no split of the data can be read.
    """
    start = time.perf_counter()
    kind = load_task(name)
    with folder_for(report, "--report"):
        return _checked(kind(kind.Settings(data=data)), data, report, fix, weights, console, start)


def _checked(
    task: AnyTask, data: Path, report: Path | None, fix: Path | None, weights: Mapping[str, str],
    console: Console, start: float,
) -> dict[str, Any]:
    """The answer of :func:`check`, and its files."""
    name, seen = task.name, look(task, weights, console)
    answer: dict[str, Any] = {
        "app": name, "data": str(data), "images": sum(map(len, seen.splits.values())),
        "splits": {split: len(images) for split, images in seen.splits.items()},
        "problems": {kind: counted(items) for kind, items in seen.problems.items()}, "notes": seen.notes,
        "not_checked": seen.unlooked,
    }
    with whole_set():
        if fix is not None:
            answer |= {"fix": str(fix), "moves": write_moves(fix, data, seen.problems)}
        if report is not None:
            page = write_check_page(report, name, data, answer, seen.problems)
            answer |= {"report": str(page)}
    return answer | {"seconds": round(time.perf_counter() - start, 1)}


def look(task: AnyTask, weights: Mapping[str, str], console: Console) -> Seen:
    """All problems of a task's images.

    Raises:
        OSError, ValueError: no split can be read.
    """
    splits, refused = _opened(task)
    notes = [note for images in splits.values() for note in images.notes]
    prints = _printed(splits, console)
    exact, near = exact_copies(prints), near_copies(prints)
    problems: Problems = {"refused": refused} if refused else {}
    problems |= image_problems([item for items in prints.values() for item in items])
    problems |= copy_problems(splits, exact, near)
    unlooked: list[str] = []
    if all(images.single_label for images in splits.values()):
        problems |= class_problems(splits)
        problems |= _label_problems(task, splits, prints, weights, console, unlooked)
    copies = [*exact, *(places for places, _ in near)]
    problems |= task.problems(Survey(splits, copies, weights, console, unlooked))
    return Seen(splits, problems, list(dict.fromkeys(notes)), unlooked)


def _opened(task: AnyTask) -> tuple[dict[str, ImageDataset], list[Problem]]:
    """The splits that can be opened, and why others cannot."""
    splits: dict[str, ImageDataset] = {}
    refused: list[Problem] = []
    errors: list[Exception] = []
    for split in task.check_splits:
        try:
            splits[split] = task.check_dataset(split)
        except (OSError, ValueError) as err:
            errors.append(err)
            refused.append(Problem(f"{split}: {err}"))
    if not splits:
        raise errors[0]
    return splits, refused


def _printed(splits: Mapping[str, ImageDataset], console: Console) -> Prints:
    """The fingerprints of all images by split; a file that is in several is read once."""
    paths = list(dict.fromkeys(photo.path for images in splits.values() for photo in images.photos))
    with console.track("comparing photos", len(paths)) as update:
        prints = dict(zip(paths, fingerprints(paths, lambda done: update(done, "photos")), strict=True))
    return {split: [prints[photo.path] for photo in images.photos] for split, images in splits.items()}


def _label_problems(
    task: AnyTask, splits: Mapping[str, ImageDataset], prints: Prints, weights: Mapping[str, str],
    console: Console, unlooked: list[str],
) -> Problems:
    """Likely wrong labels, where there are weights to look at the images with; else a sentence."""
    if CLASSIFIER not in weights:
        unlooked.append(f"likely_wrong_labels: {HOW}")
        return {}
    from apps.engine.inference.pooled import kept_features, pooled_model

    engine, where = pooled_model(weights[CLASSIFIER]), str(task.data.absolute())
    paths = [item.path for items in prints.values() for item in items]
    digests = [item.digest for items in prints.values() for item in items]
    with console.track("looking at photos", len(paths)) as update:
        features = kept_features(engine, paths, digests, where, lambda done: update(done, "photos"))
    ends = list(accumulate(map(len, prints.values())))
    parts = dict(zip(prints, np.split(features, ends[:-1]), strict=True))
    return {"likely_wrong_labels": label_problems(splits, parts)}
