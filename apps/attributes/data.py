"""The images of a split, their labels and what the student learns of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.evaluator import AttributeEvaluation
from apps.attributes.labels import is_labelled, labelled, unlabelled
from apps.attributes.names import Layout
from apps.attributes.teachers import teacher_columns
from apps.engine.core.console import Console
from apps.engine.data.folds import folded
from datasets.multilabel import MultiLabelDataset
from datasets.synthetic.drawn_dogs import default_cache

Values = NDArray[np.float32]
BY_TEACHER = (
    "the folder has no labels: the student is evaluated by how well it repeats the teacher's decisions"
)


def attribute_split(
    settings: Any, split: str, *, classes: Sequence[str] | None = None, lenient: bool = False,
    console: Console | None = None,
) -> MultiLabelDataset:
    """The images of ``train``, with what is to be learned, or of ``val``, with labels.

    Args:
        settings: of the application.
        split: ``train`` or ``val``; CelebA has ``test``, and a table ``all``, too.
        classes: names as a checkpoint keeps them; None takes those of the settings, else of the data.
        console: where the progress of a teacher goes that has to be asked first; None asks none, and takes
            the answers that are kept.
        lenient: labels may lack some of the names, even without a teacher that knows them.

    Raises:
        OSError: images, table or teacher are missing.
        ValueError: the table or the teacher does not fit, or an attribute is the same on all images.
    """
    asked = list(classes or ([part.strip() for part in settings.names.split(",")] if settings.names else []))
    if not is_labelled(settings):
        photos, layout = _part(settings, split, lambda part: unlabelled(settings, part, asked))
        trained = distilled_columns(settings, photos, layout, console)
        photos = photos.learning(trained if split == "train" else decided(trained, layout))
        if split != "train":
            photos.notes.append(BY_TEACHER)
    else:
        lenient = lenient or settings.teacher is not None
        photos, layout = _part(
            settings, split, lambda part: labelled(settings, part, asked, lenient=lenient)
        )
        labels = layout.spread(photos.values)
        photos = _named(photos, layout).learning(labels)
        if split == "train" and settings.teacher is not None:
            trained = distilled_columns(settings, photos, layout, console)
            photos = photos.learning(mixed(labels, trained, settings.teacher_weight))
    _check_varied(photos, layout, split)
    return photos


def _part(
    settings: Any, split: str, read: Callable[[str], tuple[MultiLabelDataset, Layout]]
) -> tuple[MultiLabelDataset, Layout]:
    """A split as the data have it, or of a fold, in which nobody is on both sides."""
    if settings.fold is None or split not in ("train", "val"):
        return read(split)
    (train, layout), (val, other) = read("train"), read("val")
    if other.classes != layout.classes:
        raise ValueError("train and val have other attributes; name them with --names to draw --folds")
    people = train.joined(val).people
    return folded(train, val, split, settings.fold, settings.seed, groups=people), layout


def decided(values: Values, layout: Layout) -> Values:
    """A teacher's answers as labels: yes and no at 0.5; groups as they are."""
    result = np.where(np.isnan(values), np.nan, values >= 0.5).astype(np.float32)
    result[:, len(layout.names):] = values[:, len(layout.names):]
    return result


def _named(photos: MultiLabelDataset, layout: Layout) -> MultiLabelDataset:
    """The images with the names as a checkpoint keeps them."""
    result = photos.subset(range(len(photos)))
    result.classes, result.notes = layout.classes, list(photos.notes)
    return result


def distilled_columns(
    settings: Any, photos: MultiLabelDataset, layout: Layout, console: Console | None
) -> Values:
    """What the teacher of the settings says of images, in the columns of a layout; NaN where it says nothing.

    Raises:
        OSError: there is no such teacher, or without a screen: its answers are not kept.
        ValueError: it knows none of the attributes.
    """
    from datasets.described.label_tables import FOLDERS

    root = Path(settings.data)
    base = next((root / f for f in FOLDERS if f != "." and (root / f).is_dir()), root)
    paths = [photo.path for photo in photos.photos]
    images = [
        str(path.relative_to(base if path.is_relative_to(base) else root)) for path in paths
    ]
    return teacher_columns(
        settings.teacher, layout, paths, images, folder=default_cache() / "teachers",
        console=console, workers=settings.workers,
    )


def mixed(labels: Values, values: Values, weight: float) -> Values:
    """What is learned: labels at ``1 - weight`` and the teacher at ``weight``; the one that speaks, alone.

    Cross-entropy is linear in its target, so this is the same as two losses with these weights.
    """
    both = (1 - weight) * labels + weight * values
    result: Values = np.where(np.isnan(values), labels, np.where(np.isnan(labels), values, both))
    return result.astype(np.float32)


def _check_varied(photos: MultiLabelDataset, layout: Layout, split: str) -> None:
    """Refuse what is the same, or unknown, on all training images; tell of what is to evaluate on."""
    faults = []
    for n, name in enumerate(layout.names):
        column = photos.columns[:, n]
        known = column[~np.isnan(column)]
        if not len(known):
            faults.append((name, "is known of no photo"))
        elif known.min() == known.max():
            faults.append((name, f"is {known[0]:g} on all {len(known)} photos"))
    start = len(layout.names)
    for name, count in layout.groups.items():
        if np.isnan(photos.columns[:, start : start + count]).any(axis=1).all():
            faults.append((name, "is known of no photo"))
        start += count
    if not faults:
        return
    if split == "train":
        text = "; ".join(f"attribute {name} {what}" for name, what in faults)
        raise ValueError(f"{text} to learn from: nothing can be learned; leave it out by --names")
    photos.notes += [
        f"attribute {name} {what} of {split}: its figures are undefined" for name, what in faults
    ]


def evaluation_of(
    probabilities: NDArray[Any], targets: NDArray[Any], layout: Layout, paths: Sequence[str],
    thresholds: dict[str, float] | None = None, *, owners: Mapping[str, str] | None = None,
) -> AttributeEvaluation:
    """Answers and labels in the columns of a layout, as what figures are counted from."""
    count = start = len(layout.names)
    values: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for name, classes in layout.groups.items():
        block, years = slice(start, start + classes), np.arange(classes, dtype=np.float64)
        answer, true = (item[:, block].astype(float) @ years for item in (probabilities, targets))
        values[name] = answer, true
        start += classes
    return AttributeEvaluation(
        probabilities[:, :count].astype(float), targets[:, :count].astype(float), layout.names, tuple(paths),
        thresholds or {}, values,
        tuple(owners[path] for path in paths) if owners and all(path in owners for path in paths) else (),
    )
