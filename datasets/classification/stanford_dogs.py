"""Stanford Dogs (Khosla et al. 2011): 120 breeds, 12,000 training and 8,580 test images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from datasets.base import ImageDataset, Photo
from datasets.classification.mat_lists import read_mat
from datasets.classification.wordnet import class_names, folder_ids, match_classes
from datasets.image_io import Box
from datasets.outside import one_line, regular_file
from datasets.validation import short

_LISTS = {"train": "train_list.mat", "val": "test_list.mat", "test": "test_list.mat"}
_MEND = (
    "unpack images.tar, annotation.tar and lists.tar of Stanford Dogs there, "
    "or run: python cli.py fetch stanford-dogs --root"
)


def is_stanford_dogs(root: Path | str) -> bool:
    """Whether a folder looks like Stanford Dogs, complete or not: lists, or ``Images/WNID-Breed``."""
    root = Path(root)
    if _find_list(root, "train") or _find_list(root, "val"):
        return True
    images = root / "Images"
    return images.is_dir() and any(re.fullmatch(r"n\d{8}-.+", entry.name) for entry in images.iterdir())


class StanfordDogs(ImageDataset):
    """Stanford Dogs as published: ``Images/``, ``Annotation/`` and the official split in ``lists/``.

    The lists may also lie in the root or beside it, as people unpack them. An image with several
    annotated dogs has the largest of their boxes; boxes are the file's numbers, cut at the edge when read.

    Args:
        root: folder that holds ``Images``.
        split: ``train`` or ``val``; ``test`` is another word for ``val``, the official test list.
        crop: cut each image to its box (needs ``Annotation``); False leaves the boxes unread.
        classes: names or folder names from a checkpoint; labels follow them.
        min_side: as for :class:`ImageDataset`.

    Attributes:
        class_ids: folder names such as ``n02085620-Chihuahua``, one a class.

    Raises:
        FileNotFoundError: root, a list, or images or annotations that are listed are missing.
        ValueError: a list or an annotation cannot be read, or a breed is not among ``classes``.

    Source: Khosla, Jayadevaprakash, Yao and Fei-Fei, "Novel dataset for fine-grained image
    categorization", FGVC workshop 2011.
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        *,
        crop: bool = False,
        classes: Sequence[str] | None = None,
        min_side: int | None = None,
    ) -> None:
        root = Path(root)
        rows = _official_split(root, split)
        self.class_ids = _class_ids(root, split, rows)
        photos = [Photo(root / "Images" / row.file, row.label) for row in rows]
        _check_present(root, [photo.path for photo in photos], "photos")
        if crop:
            photos = _with_boxes(root, rows, photos)
        names = class_names(self.class_ids)
        if classes is not None:
            labels = match_classes(self.class_ids, classes, "the checkpoint")
            photos = [replace(photo, label=labels[photo.label]) for photo in photos]
            self.class_ids, names = folder_ids(self.class_ids, labels, classes), tuple(classes)
        super().__init__(photos, names, min_side=min_side, crop_to_box=crop)


@dataclass(frozen=True)
class _Row:
    """One line of a list: ``n02085620-Chihuahua/n02085620_5927.jpg``, the same without suffix, 0 to 119."""

    file: str
    annotation: str
    label: int


def _find_list(root: Path, split: str) -> Path | None:
    name = _LISTS[split]
    places = (root / "lists", root, root.parent / "lists")
    return next((place / name for place in places if (place / name).is_file()), None)


def _official_split(root: Path, split: str) -> list[_Row]:
    if split not in _LISTS:
        raise ValueError(f"split must be train, val or test, got {split!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; {_MEND} {root}")
    path = _find_list(root, split)
    if path is None:
        raise FileNotFoundError(f"{root / 'lists' / _LISTS[split]} is missing; {_MEND} {root}")
    return _read_list(path)


def _read_list(path: Path) -> list[_Row]:
    """A list as published: cells of cells of text, and labels from 1."""
    with one_line(path, "unpack lists.tar again", "is no list of Stanford Dogs"):
        table = read_mat(path)
        files, annotations = (list(map(_text, table[key])) for key in ("file_list", "annotation_list"))
        labels = [int(label) - 1 for label in table["labels"]]
        rows = [_Row(*row) for row in zip(files, annotations, labels, strict=True)]
    if not rows:
        raise ValueError(f"{path} lists no photos; unpack lists.tar again")
    return rows


def _text(cell: Any) -> str:
    """The name in a cell, or in the only cell in it, which leads to no folder above the list's."""
    text = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
    if not isinstance(text, str) or not text or text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"it names {short(text)} as a photo")
    return text


def _class_ids(root: Path, split: str, rows: list[_Row]) -> tuple[str, ...]:
    """Folder names by label, from both lists where both are there, so that the splits agree."""
    other = _find_list(root, "val" if split == "train" else "train")
    folders: dict[int, str] = {}
    for row in [*rows, *(_read_list(other) if other else [])]:
        folder = row.file.split("/")[0]
        if folders.setdefault(row.label, folder) != folder:
            both = f"{folders[row.label]} and {folder}"
            number = row.label + 1
            raise ValueError(f"the lists of {root} give label {number} to {both}; unpack lists.tar again")
    gaps = sorted(set(range(max(folders) + 1)) - set(folders))
    if gaps or min(folders) < 0:
        got = [label + 1 for label in sorted(folders)]
        raise ValueError(f"the lists of {root} should number breeds from 1 without gaps, got {got}")
    return tuple(folders[label] for label in range(len(folders)))


def _check_present(root: Path, paths: list[Path], what: str) -> None:
    """Refuse a partial download; one look a folder instead of one a file."""
    present: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        present[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    missing = [path for path in paths if path.name not in present[path.parent]]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} {what} in the list are missing, such as {missing[0]}; "
            f"{_MEND} {root}"
        )


def _with_boxes(root: Path, rows: list[_Row], photos: list[Photo]) -> list[Photo]:
    annotations = [root / "Annotation" / row.annotation for row in rows]
    _check_present(root, annotations, "annotations")
    return [replace(photo, box=_largest_box(path)) for photo, path in zip(photos, annotations, strict=True)]


def _largest_box(path: Path) -> Box:
    """The box with the largest area in an annotation in Pascal VOC's XML."""
    try:
        objects = ElementTree.parse(regular_file(path)).getroot().iter("bndbox")
        boxes = [_box(node) for node in objects]
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise ValueError(f"{path} is no annotation ({error}); unpack annotation.tar again") from error
    boxes = [box for box in boxes if box[0] < box[2] and box[1] < box[3]]
    if not boxes:
        raise ValueError(f"{path} has no box with a pixel in it; unpack annotation.tar again")
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))


def _box(node: ElementTree.Element) -> Box:
    x1, y1, x2, y2 = (int(node.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax"))
    return x1, y1, x2, y2
