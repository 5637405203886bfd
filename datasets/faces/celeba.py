"""CelebA in its official layout, or any subset of its images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from datasets.multilabel import MultiLabelDataset
from datasets.validation import read_text

PHOTOS, ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
PARTITION, IDENTITY = "list_eval_partition.txt", "identity_CelebA.txt"
SPLITS = {"train": "0", "val": "1", "test": "2"}
FOLDERS = (".", "Anno", "Eval")


def is_celeba(root: Path) -> bool:
    """Whether a folder has CelebA's list of attributes."""
    return _find(root, ATTRIBUTES) is not None


def celeba(root: Path, split: str) -> MultiLabelDataset:
    """The images of one of CelebA's own splits, in which nobody is twice.

    Args:
        root: folder with ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt``; the
            lists may lie in ``Anno/`` and ``Eval/``, as they are distributed.
        split: ``train``, ``val`` or ``test``.

    Returns:
        Those of the listed images that are there; ``notes`` tell how many are not.

    Raises:
        FileNotFoundError: a list or all images are missing.
        ValueError: a line is cut off or holds something else than 1 and -1.
    """
    if split not in SPLITS:
        raise ValueError(f"CelebA's splits are {', '.join(SPLITS)}, got {split!r}")
    listing, partition = _must(root, ATTRIBUTES), _must(root, PARTITION)
    lines = read_text(listing).splitlines()
    names = lines[1].split() if len(lines) > 1 else []
    if not names or not re.fullmatch(r"\s*[0-9]{1,18}\s*", lines[0]):
        raise ValueError(f"{listing}: lines 1 and 2 must be the number of photos and the attributes' names")
    rows = {words[0]: words for words in _words(partition) if words}
    paths: list[Path] = []
    missing: list[Path] = []
    values: list[list[float]] = []
    known = _people(root)
    for number, line in enumerate(lines[2:], 3):
        words = line.split()
        if not words:
            continue
        values_here = _row(words, names, listing, number)
        if words[0] not in rows or len(rows[words[0]]) != 2:
            raise ValueError(f"{partition} has no line `{words[0]} 0`; give CelebA's own list")
        if rows[words[0]][1] == SPLITS[split]:
            there = (root / PHOTOS / words[0]).is_file()
            (paths if there else missing).append(root / PHOTOS / words[0])
            if there:
                values.append(values_here)
    if not paths:
        raise FileNotFoundError(f"none of the {len(missing)} photos of {split} is in {root / PHOTOS}")
    people = [known[path.name] for path in paths] if all(path.name in known for path in paths) else None
    dataset = MultiLabelDataset(paths, names, np.array(values, np.float32), people=people)
    if missing:
        dataset.notes.append(
            f"CelebA's {split} lists {len(paths) + len(missing)} photos, {len(paths)} are there: the rest is "
            "left out"
        )
    reported, count = int(lines[0]), sum(bool(line.strip()) for line in lines[2:])
    if reported != count and split != "val":  # said once of a training
        dataset.notes.append(f"{listing} announces {reported} photos and lists {count}: is it cut off?")
    return dataset


def _row(words: list[str], names: list[str], listing: Path, number: int) -> list[float]:
    if len(words) != len(names) + 1:
        raise ValueError(
            f"{listing}, line {number}: {len(names)} values expected, got {len(words) - 1}; is it cut off?"
        )
    if not set(words[1:]) <= {"1", "-1"}:
        strange = next(word for word in words[1:] if word not in ("1", "-1"))
        raise ValueError(f"{listing}, line {number}: values are 1 and -1, got {strange!r}")
    return [float(word == "1") for word in words[1:]]


def _people(root: Path) -> dict[str, str]:
    listing = _find(root, IDENTITY)
    if listing is None:
        return {}
    return {words[0]: words[1] for words in _words(listing) if len(words) == 2}


def _words(listing: Path) -> list[list[str]]:
    return [line.split() for line in read_text(listing).splitlines()]


def _find(root: Path, name: str) -> Path | None:
    return next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)


def _must(root: Path, name: str) -> Path:
    result = _find(root, name)
    if result is None:
        raise FileNotFoundError(f"{root / name} is missing; put CelebA's lists beside {PHOTOS}/")
    return result
