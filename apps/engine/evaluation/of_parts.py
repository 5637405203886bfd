"""``evaluate APP --predictions FOLDER``: the parts of ``predict --out``, evaluated on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.console import Console
from apps.engine.core.registry import load_task
from apps.engine.evaluation.classification import Floats, Predictions
from apps.engine.scale.local_data import present, with_local_data
from apps.engine.scale.parts import lines_of
from datasets.names import match_names
from datasets.packed import IN

NAMED = 5  # classes that a line must have, or all
LEAST = 1e-12  # probability of a class that is not named


def evaluate_parts(
    name: str, folder: Path, data: Path | str | None, split: str, console: Console
) -> dict[str, Any]:
    """The figures of answers that name one class an image, on the images of one split.

    Args:
        name: of the application.
        folder: parts that ``predict --out`` wrote of its answers.
        data: folder of images, in the application's layout, or an address.
        split: ``val`` or ``train``.
        console: where words go.

    Returns:
        ``{"app", "n", "metrics", "intervals", "skipped"}``; skipped are images without an answer. There is no
        cross entropy: the probabilities of classes that a line does not name are not known.

    Raises:
        FileNotFoundError: the data or the parts are not there.
        ValueError: the application does not name one class an image, or the parts hold answers of another
            kind, fewer classes than five, or none for the images or the classes of the data.
    """
    if data is None:
        raise ValueError("no photos to evaluate on; give --data DIR")
    kind, here = load_task(name), with_local_data({"data": data}, console)
    present(here["data"], console)
    photos = kind(kind.Settings(**here)).dataset(split)
    if not photos.single_label:
        raise ValueError(f"{name} does not name one class an image; give --checkpoint RUN")
    for note in photos.notes:
        console.warn(note)
    answers = _matched(photos.paths(range(len(photos))), folder)
    rows, classes = sorted(answers), tuple(photos.classes)
    logits = np.log(_probabilities([answers[row] for row in rows], classes, folder))
    targets = np.array([photos.target(row) for row in rows], np.int64)
    result = Predictions(logits.astype(np.float32), targets, photos.paths(rows), classes)
    metrics = {key: value for key, value in result.metrics().items() if key != "cross_entropy"}
    return {
        "app": name, "n": len(result), "metrics": metrics, "intervals": result.intervals(),
        "skipped": len(photos) - len(rows),
    }


def _matched(paths: Sequence[str], folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Number of a photo -> its classes with probabilities, known by what their paths share."""
    lines = [line for line in lines_of(folder) if "error" not in line]
    if any("predictions" not in line for line in lines):
        raise ValueError(f"{folder} holds answers that do not name classes; give parts of predict --out")
    names = [line["path"].replace(IN, "/") for line in lines]  # what lies in a tar is in a folder of its name
    index = match_names(names, paths)
    result = {row: lines[line]["predictions"] for row, line in enumerate(index.tolist()) if line >= 0}
    if not result:
        raise ValueError(f"{folder} has an answer for none of the {len(paths)} photos, such as {paths[0]}")
    return result


def _probabilities(
    answers: Sequence[Sequence[dict[str, Any]]], classes: Sequence[str], folder: Path
) -> Floats:
    """(N, K) probabilities; what a line leaves goes to the classes that it does not name, in equal parts."""
    place = {name: number for number, name in enumerate(classes)}
    if not any(item["name"] in place for answer in answers for item in answer):
        raise ValueError(
            f"{folder} names none of the {len(classes)} classes of the data, such as {classes[0]}, but "
            f"{answers[0][0]['name']}"
        )
    least = min(map(len, answers))
    if least < min(NAMED, len(classes)):
        raise ValueError(f"{folder} names {least} classes of an image; make it with --top {NAMED} or more")
    result = np.empty((len(answers), len(classes)))
    for row, answer in zip(result, answers, strict=True):
        left = 1 - sum(item["probability"] for item in answer)
        row[:] = max(left, 0.0) / max(len(classes) - len(answer), 1)
        for item in answer:
            if item["name"] in place:
                row[place[item["name"]]] = item["probability"]
    return result.clip(min=LEAST)
