"""The photos of a split, their labels and what the student is taught of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.evaluator import Judged
from apps.attributes.labels import is_labelled, labelled, unlabelled
from apps.attributes.names import Layout
from apps.attributes.teachers import teacher_columns
from apps.engine.core.console import Screen
from datasets.faces.attributes import AttributePhotos
from datasets.synthetic.drawn_dogs import default_cache

Values = NDArray[np.float32]
TAUGHT = "the folder has no labels: the student is judged by how well it repeats the teacher's decisions"


def attribute_split(
    settings: Any, split: str, *, classes: Sequence[str] | None = None, lenient: bool = False,
    screen: Screen | None = None,
) -> AttributePhotos:
    """The photos of ``train``, with what is to be learned, or of ``val``, with labels.

    Args:
        settings: of the application.
        split: ``train`` or ``val``; CelebA has ``test``, and a table ``all``, too.
        classes: names as a checkpoint keeps them; None takes those of the settings, else of the data.
        screen: where the progress of a teacher goes that has to be asked first; None asks none, and takes
            the answers that are kept.
        lenient: labels may lack some of the names, even without a teacher that knows them.

    Raises:
        OSError: photos, table or teacher are missing.
        ValueError: the table or the teacher does not fit, or an attribute is the same on all photos.
    """
    asked = list(classes or ([one.strip() for one in settings.names.split(",")] if settings.names else []))
    if not is_labelled(settings):
        photos, layout = unlabelled(settings, split, asked)
        taught = taught_columns(settings, photos, layout, screen)
        photos = photos.learning(taught if split == "train" else decided(taught, layout))
        if split != "train":
            photos.notes.append(TAUGHT)
    else:
        photos, layout = labelled(settings, split, asked, lenient=lenient or settings.teacher is not None)
        labels = layout.spread(photos.values)
        photos = _named(photos, layout).learning(labels)
        if split == "train" and settings.teacher is not None:
            taught = taught_columns(settings, photos, layout, screen)
            photos = photos.learning(mixed(labels, taught, settings.teacher_weight))
    _check_varied(photos, layout, split)
    return photos


def decided(taught: Values, layout: Layout) -> Values:
    """A teacher's answers as labels: yes and no at 0.5; groups as they are."""
    found = np.where(np.isnan(taught), np.nan, taught >= 0.5).astype(np.float32)
    found[:, len(layout.names):] = taught[:, len(layout.names):]
    return found


def _named(photos: AttributePhotos, layout: Layout) -> AttributePhotos:
    """The photos with the names as a checkpoint keeps them."""
    found = photos.subset(range(len(photos)))
    found.classes, found.notes = layout.classes, list(photos.notes)
    return found


def taught_columns(
    settings: Any, photos: AttributePhotos, layout: Layout, screen: Screen | None
) -> Values:
    """What the teacher of the settings says of photos, in the columns of a layout; NaN where it says nothing.

    Raises:
        OSError: there is no such teacher, or without a screen: its answers are not kept.
        ValueError: it knows none of the attributes.
    """
    from datasets.faces.attribute_tables import FOLDERS

    root = Path(settings.data)
    base = next((root / f for f in FOLDERS if f != "." and (root / f).is_dir()), root)
    paths = [photo.path for photo in photos.photos]
    images = [
        str(path.relative_to(base if path.is_relative_to(base) else root)) for path in paths
    ]
    return teacher_columns(
        settings.teacher, layout, paths, images, folder=default_cache() / "teachers",
        screen=screen, workers=settings.workers,
    )


def mixed(labels: Values, taught: Values, weight: float) -> Values:
    """What is learned: labels at ``1 - weight`` and the teacher at ``weight``; the one that speaks, alone.

    Cross-entropy is linear in its target, so this is the same as two losses with these weights.
    """
    both = (1 - weight) * labels + weight * taught
    found: Values = np.where(np.isnan(taught), labels, np.where(np.isnan(labels), taught, both))
    return found.astype(np.float32)


def _check_varied(photos: AttributePhotos, layout: Layout, split: str) -> None:
    """Refuse what is the same, or unknown, on all photos to learn from; tell of what is to judge by."""
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
        told = "; ".join(f"attribute {name} {what}" for name, what in faults)
        raise ValueError(f"{told} to learn from: nothing can be learned; leave it out by --names")
    photos.notes += [
        f"attribute {name} {what} of {split}: its figures are undefined" for name, what in faults
    ]


def judged(
    probabilities: NDArray[Any], targets: NDArray[Any], layout: Layout, paths: Sequence[str],
    thresholds: dict[str, float] | None = None, *, owners: Mapping[str, str] | None = None,
) -> Judged:
    """Answers and labels in the columns of a layout, as what figures are counted from."""
    count = start = len(layout.names)
    values: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for name, classes in layout.groups.items():
        block, years = slice(start, start + classes), np.arange(classes, dtype=np.float64)
        said, true = (one[:, block].astype(float) @ years for one in (probabilities, targets))
        values[name] = said, true
        start += classes
    return Judged(
        probabilities[:, :count].astype(float), targets[:, :count].astype(float), layout.names, tuple(paths),
        thresholds or {}, values,
        tuple(owners[path] for path in paths) if owners and all(path in owners for path in paths) else (),
    )
