"""The images of a training, with what a user should know of them before it begins."""

from __future__ import annotations

from pathlib import Path

from apps.engine.checking.classes import similar_names
from apps.engine.checking.copies import leaks_before_training
from apps.engine.checking.moves import read_moves, resolved
from apps.engine.core.console import Console
from apps.engine.core.task import AnyTask
from datasets.base import ImageDataset

SPLITS = ("train", "val")


def opened(task: AnyTask, console: Console) -> tuple[ImageDataset, ImageDataset]:
    """The images to train on and to evaluate on, corrected as ``--fix`` says; what is odd is reported.

    Raises:
        OSError: images, or what they need, are missing.
        ValueError: they are none, or a correction does not fit them.
    """
    parts = []
    for split in SPLITS:
        task.prepare(split, console)
        images: ImageDataset = task.dataset(split)
        parts.append((task.fixed(images), {resolved(photo.path) for photo in images.photos}))
    (train, first), (val, second) = parts
    for note in dict.fromkeys((
        *train.notes, *val.notes, *without_photos(val, "val"), *similar_names(train.classes),
        *leaks_before_training(train, val), *_unmatched(task, first | second),
    )):
        console.warn(note)
    return train, val


def _unmatched(task: AnyTask, known: set[str]) -> list[str]:
    """A sentence on the rows of ``--fix`` that name no image, if there are any."""
    fix: Path | None = task.settings.fix
    if fix is None:
        return []
    strange = [move.path for move in read_moves(fix, task.data) if resolved(move.path) not in known]
    if not strange:
        return []
    return [f"--fix {fix.name}: {len(strange)} rows name no photo of this data, such as {strange[0]}"]


def fixed_as_trained(task: AnyTask, images: ImageDataset, console: Console) -> ImageDataset:
    """The images to evaluate a run on, corrected as in its training where the table is still there."""
    if task.settings.fix is not None and not task.settings.fix.is_file():
        console.warn(f"--fix {task.settings.fix}, which the run was trained with, is gone: all photos count")
        return images
    result: ImageDataset = task.fixed(images)
    return result


def without_photos(photos: ImageDataset, split: str) -> list[str]:
    """A sentence on the classes that a split has no image of, if there are any."""
    if not photos.single_label:
        return []
    empty = [name for name, n in zip(photos.classes, photos.counts(), strict=True) if n == 0]
    if not empty:
        return []
    named = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
    return [f"{split} has no photo of {len(empty)} of {len(photos.classes)} classes: {named}"]
