"""Where the labels of attributes come from: CelebA, a table, or nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.names import Layout, listed
from apps.attributes.teachers import is_table, load_oracle
from datasets.described.label_tables import find_table, label_names, photos_of_table, read_label_table
from datasets.faces.celeba import celeba, is_celeba
from datasets.image_io import find_images
from datasets.multilabel import MultiLabelDataset

NO_TABLE = "attributes.csv, attributes.parquet, lfw_attributes.txt or CelebA's lists"


def is_labelled(settings: Any) -> bool:
    """Whether there is a table of labels, or CelebA's."""
    root = Path(settings.data)
    return settings.table is not None or is_celeba(root) or find_table(root) is not None


def labelled_names(data: Path, table: Path | None) -> tuple[str, ...]:
    """The columns that a table, or CelebA's list, has a label in.

    Raises:
        FileNotFoundError: there is neither.
    """
    where = table or (None if is_celeba(data) else find_table(data))
    if where is not None:
        return label_names(where)
    if is_celeba(data):
        return celeba(data, "val").classes
    raise FileNotFoundError(f"{data} has no table of attributes; give --table FILE")


def labelled(
    settings: Any, split: str, asked: list[str], *, lenient: bool
) -> tuple[MultiLabelDataset, Layout]:
    """The images of a split with their labels: a column an attribute, then one a group.

    Args:
        settings: of the application.
        split: ``train`` or ``val``; CelebA has ``test``, and a table ``all``, too.
        asked: names as a checkpoint keeps them; empty takes those of the data.
        lenient: names may be missing as long as one is there: a teacher speaks of them.

    Raises:
        OSError: images or table are missing.
        ValueError: they do not fit, or lack a name.
    """
    root = Path(settings.data)
    if is_celeba(root) and settings.table is None:
        return _of_celeba(root, split, asked, lenient=lenient)
    table: Any = settings.table or find_table(root)
    layout = Layout.of(asked)
    wanted = [*layout.names, *layout.groups]
    known = label_names(table)
    there = [name for name in wanted if name in known]
    if not lenient or not there:
        there = wanted
    result = read_label_table(
        table, names=there or None, counts={k: v for k, v in layout.groups.items() if k in there}
    )
    layout = Layout.of(asked or result.names)
    if there != wanted:
        result = replace(result, names=tuple(wanted), values=_spread(result.values, there, wanted))
    every = photos_of_table(root, result, table)
    if there != wanted:
        every.notes.append(_unknown_here(str(table), there, wanted))
    if split == "all":
        return every, layout
    if split not in ("train", "val"):
        raise ValueError(f"{table} has no split {split!r}; give train, val or all")
    return _part(every, split, settings), layout


def _of_celeba(
    root: Path, split: str, asked: list[str], *, lenient: bool
) -> tuple[MultiLabelDataset, Layout]:
    photos = celeba(root, split)
    dull = _constant(photos) if split == "train" and not asked else []
    layout = Layout.of(asked or [name for name in photos.classes if name not in dull])
    wanted = [*layout.names, *layout.groups]
    there = [name for name in layout.names if name in photos.classes]
    if there != wanted and not (lenient and there):
        lacking = [name for name in wanted if name not in there]
        raise ValueError(f"CelebA has no attribute {listed(lacking)}; it has {listed(photos.classes)}")
    columns = [photos.classes.index(name) for name in there]
    chosen = MultiLabelDataset(
        [photo.path for photo in photos.photos], wanted, _spread(photos.values[:, columns], there, wanted),
        people=photos.people,
    )
    chosen.notes = photos.notes
    if there != wanted:
        chosen.notes.append(_unknown_here("CelebA", there, wanted))
    if dull:
        chosen.notes.append(
            f"the same on all {len(photos)} photos of this part of CelebA, so not learned: {listed(dull)}"
        )
    return chosen, layout


def _unknown_here(where: str, there: list[str], wanted: list[str]) -> str:
    """What is said of the attributes that only the teacher speaks of."""
    lacking = [name for name in wanted if name not in there]
    return f"{where} has no {listed(lacking)}: only the teacher speaks of it, and nothing evaluates it"


def _spread(
    values: NDArray[np.float32], there: list[str], wanted: list[str]
) -> NDArray[np.float32]:
    """Columns of some names in the order of all; NaN for the others."""
    result = np.full((len(values), len(wanted)), np.nan, np.float32)
    for n, name in enumerate(there):
        result[:, wanted.index(name)] = values[:, n]
    return result


def _constant(photos: MultiLabelDataset) -> list[str]:
    """The attributes that a part of CelebA has the same everywhere; all stay where there is no other."""
    same = (photos.values == photos.values[0]).all(axis=0)
    return [] if same.all() else [name for name, item in zip(photos.classes, same, strict=True) if item]


def unlabelled(settings: Any, split: str, asked: list[str]) -> tuple[MultiLabelDataset, Layout]:
    """The images of a folder without a table, and the names that the teacher knows; nothing is known of them.

    Raises:
        OSError: there are no images, or no teacher is given.
        ValueError: there is no such split.
    """
    root = Path(settings.data)
    if not root.is_dir():
        raise FileNotFoundError(f"--data {root} does not exist; give a folder of photos")
    if settings.teacher is None:
        raise FileNotFoundError(
            f"{root} has no table of attributes ({NO_TABLE}); give --table FILE, or --teacher to learn from "
            "its answers"
        )
    paths = list(find_images([root]))
    if len(paths) < 2:
        raise FileNotFoundError(f"{root} has {len(paths)} photos; give a folder with 2 or more")
    if not asked:
        asked = list(_distilled_names(settings.teacher))
    layout = Layout.of(asked)
    folders = [str(path.parent) for path in paths]
    unknown = np.full((len(paths), len(layout.classes)), np.nan, np.float32)
    every = MultiLabelDataset(
        paths, layout.classes, unknown, people=folders if len(set(folders)) > 1 else None
    )
    if split not in ("train", "val", "all"):
        raise ValueError(f"{root} has no split {split!r}; give train, val or all")
    if split == "all":
        return every, layout
    return _part(every, split, settings), layout


def _part(every: MultiLabelDataset, split: str, settings: Any) -> MultiLabelDataset:
    """The images of train or val; says where somebody may be in both."""
    train, val = every.split_by_people(settings.val_share, settings.seed)
    if every.people is None:
        train.notes.append("who is on the photos is not known: one person may be in train and in val")
    return train if split == "train" else val


def _distilled_names(teacher: str) -> tuple[str, ...]:
    if is_table(teacher):
        return Layout.of_columns(label_names(Path(teacher))).classes
    return load_oracle(teacher).layout.classes
