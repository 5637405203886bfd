"""The photos of a split, their labels and what the student is taught of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.judged import Judged
from apps.attributes.names import Layout, listed
from apps.attributes.teachers import load_oracle, teacher_columns
from apps.progress import Screen
from datasets.attribute_photos import AttributePhotos
from datasets.attribute_tables import attribute_names, find_table, photos_of_table, read_attribute_table
from datasets.celeba import celeba, is_celeba
from datasets.drawn_dogs import default_cache
from datasets.images import find_photos

Values = NDArray[np.float32]
TAUGHT = "the folder has no labels: the student is judged by how well it repeats the teacher's decisions"


def attribute_split(settings: Any, split: str, *, classes: Sequence[str] | None = None) -> AttributePhotos:
    """The photos of ``train``, with what is to be learned, or of ``val``, with labels.

    Args:
        settings: of the application.
        split: ``train`` or ``val``; CelebA has ``test``, and a table ``all``, too.
        classes: names as a checkpoint keeps them; None takes those of the settings, else of the data.

    Raises:
        OSError: photos, table or teacher are missing.
        ValueError: the table or the teacher does not fit, or an attribute is the same on all photos.
    """
    asked = list(classes or ([one.strip() for one in settings.names.split(",")] if settings.names else []))
    if not is_labelled(settings):
        return _unlabelled(settings, split, asked)
    photos, layout = _labelled(settings, split, asked)
    labels = layout.spread(photos.values)
    photos = _named(photos, layout).learning(labels)
    if split == "train" and settings.teacher is not None:
        taught = taught_columns(settings, photos, layout)
        photos = photos.learning(mixed(labels, taught, settings.teacher_weight))
    _check_varied(photos, layout, split)
    return photos


def _labelled(settings: Any, split: str, asked: list[str]) -> tuple[AttributePhotos, Layout]:
    root = Path(settings.data)
    table: Any = settings.table or find_table(root)
    if is_celeba(root) and settings.table is None:
        photos = celeba(root, split)
        dull = _constant(photos) if split == "train" and not asked else []
        layout = Layout.of(asked or [name for name in photos.classes if name not in dull])
        missing = [name for name in layout.names if name not in photos.classes]
        if missing or layout.groups:
            raise ValueError(f"CelebA has no attribute {listed([*missing, *layout.groups])}")
        columns = [photos.classes.index(name) for name in layout.names]
        chosen = AttributePhotos(
            [p.path for p in photos.photos], layout.names, photos.values[:, columns], people=photos.people
        )
        chosen.notes = photos.notes
        if dull:
            chosen.notes.append(
                f"the same on all {len(photos)} photos of this part of CelebA, so not learned: {listed(dull)}"
            )
        return chosen, layout
    layout = Layout.of(asked)
    found = read_attribute_table(
        table, names=[*layout.names, *layout.groups] or None, counts=layout.groups
    )
    layout = Layout.of(asked or found.names)
    every = photos_of_table(root, found, table)
    if split == "all":
        return every, layout
    if split not in ("train", "val"):
        raise ValueError(f"{table} has no split {split!r}; give train, val or all")
    train, val = every.split_by_people(settings.val_share, settings.seed)
    return (train if split == "train" else val), layout


def _constant(photos: AttributePhotos) -> list[str]:
    """The attributes that a part of CelebA cannot teach; all of them stay where there is no other."""
    same = (photos.values == photos.values[0]).all(axis=0)
    return [] if same.all() else [name for name, one in zip(photos.classes, same, strict=True) if one]


def _unlabelled(settings: Any, split: str, asked: list[str]) -> AttributePhotos:
    """A folder without a table: the teacher's answers are all there is."""
    root = Path(settings.data)
    if settings.teacher is None:
        raise FileNotFoundError(
            f"{root} has no table of attributes (attributes.csv, attributes.parquet, lfw_attributes.txt or "
            "CelebA's); give --table FILE, or --teacher to learn from its answers"
        )
    paths = list(find_photos([root]))
    if len(paths) < 2:
        raise FileNotFoundError(f"{root} has {len(paths)} photos; give a folder with 2 or more")
    if not asked:
        if Path(settings.teacher).suffix in (".csv", ".parquet"):
            columns = read_attribute_table(Path(settings.teacher), soft=True, blanks=True).names
            asked = list(Layout.of_columns(columns).classes)
        else:
            asked = list(load_oracle(settings.teacher).layout.classes)
    layout = Layout.of(asked)
    folders = [str(path.parent) for path in paths]
    unknown = np.full((len(paths), len(layout.classes)), np.nan, np.float32)
    every = AttributePhotos(
        paths, layout.classes, unknown, people=folders if len(set(folders)) > 1 else None
    )
    if split not in ("train", "val", "all"):
        raise ValueError(f"{root} has no split {split!r}; give train, val or all")
    photos = every
    if split != "all":
        photos = every.split_by_people(settings.val_share, settings.seed)[0 if split == "train" else 1]
    taught = taught_columns(settings, photos, layout)
    if split == "train":
        found = photos.learning(taught)
        found.notes.append(TAUGHT)
        return found
    return photos.learning(decided(taught, layout))


def decided(taught: Values, layout: Layout) -> Values:
    """A teacher's answers as labels: yes and no at 0.5; groups as they are."""
    found = np.where(np.isnan(taught), np.nan, taught >= 0.5).astype(np.float32)
    found[:, len(layout.names):] = taught[:, len(layout.names):]
    return found


def labelled_names(data: Path, table: Path | None) -> tuple[str, ...]:
    """The columns that a table, or CelebA's list, has a label in.

    Raises:
        FileNotFoundError: there is neither.
    """
    where = table or (None if is_celeba(data) else find_table(data))
    if where is not None:
        return attribute_names(where)
    if is_celeba(data):
        return celeba(data, "val").classes
    raise FileNotFoundError(f"{data} has no table of attributes; give --table FILE")


def _named(photos: AttributePhotos, layout: Layout) -> AttributePhotos:
    """The photos with the names as a checkpoint keeps them."""
    found = photos.subset(range(len(photos)))
    found.classes, found.notes = layout.classes, list(photos.notes)
    return found


def is_labelled(settings: Any) -> bool:
    """Whether there is a table of labels, or CelebA's."""
    root = Path(settings.data)
    return settings.table is not None or is_celeba(root) or find_table(root) is not None


def taught_columns(settings: Any, photos: AttributePhotos, layout: Layout) -> Values:
    """What the teacher of the settings says of photos, in the columns of a layout; NaN where it says nothing.

    Raises:
        OSError: there is no such teacher.
        ValueError: it knows none of the attributes.
    """
    from datasets.attribute_tables import FOLDERS

    root = Path(settings.data)
    base = next((root / f for f in FOLDERS if f != "." and (root / f).is_dir()), root)
    paths = [photo.path for photo in photos.photos]
    images = [
        str(path.relative_to(base if path.is_relative_to(base) else root)) for path in paths
    ]
    return teacher_columns(
        settings.teacher, layout, paths, images, folder=default_cache() / "teachers",
        screen=Screen(), workers=settings.workers,
    )


def mixed(labels: Values, taught: Values, weight: float) -> Values:
    """What is learned: labels at ``1 - weight`` and the teacher at ``weight``; the one that speaks, alone.

    Cross-entropy is linear in its target, so this is the same as two losses with these weights.
    """
    both = (1 - weight) * labels + weight * taught
    found: Values = np.where(np.isnan(taught), labels, np.where(np.isnan(labels), taught, both))
    return found.astype(np.float32)


def _check_varied(photos: AttributePhotos, layout: Layout, split: str) -> None:
    """Refuse an attribute that is the same on all photos to learn from; tell of one to judge by."""
    for n, name in enumerate(layout.names):
        column = photos.columns[:, n]
        known = column[~np.isnan(column)]
        if len(known) and known.min() < known.max():
            continue
        what = f"is {known[0]:g} on all {len(known)} photos" if len(known) else "is known of no photo"
        if split == "train":
            raise ValueError(
                f"attribute {name} {what} to learn from: nothing can be learned; leave it out by --names"
            )
        photos.notes.append(f"attribute {name} {what} of {split}: its figures are undefined")


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
