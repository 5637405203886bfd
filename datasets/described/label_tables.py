"""Tables of labels, several an image: CSV or Parquet with an ``image`` column, and LFW's table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.folders import find_images
from datasets.multilabel import MultiLabelDataset
from datasets.names import NamedPhotos
from datasets.tables import MISSING, clean_name, read_table
from datasets.validation import read_text

IMAGE = "image"
IMAGE_NAMES = (IMAGE, "image_id", "path", "file", "filename", "file_name", "photo", "image_path")
PERSON = ("identity", "person")
FOLDERS = ("images", "img_align_celeba", "lfw", ".")
TABLES = ("attributes.csv", "attributes.parquet", "lfw_attributes.txt")
WORDS = {"0": 0.0, "1": 1.0, "-1": 0.0, "0.0": 0.0, "1.0": 1.0, "-1.0": 0.0} | {
    word: float(value) for value, words in enumerate(("false no n f", "true yes y t"))
    for word in words.split()
}


@dataclass(frozen=True)
class LabelTable:
    """What a table says.

    Args:
        images: names of images, as the table has them.
        names: of the labels.
        values: (images, names), NaN where a cell is blank.
        people: who is on each, where the table tells; blank is unknown.
        counts: name -> classes of each column that holds class numbers, not yes and no.
    """

    images: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    people: tuple[str, ...] | None = None
    counts: dict[str, int] = field(default_factory=dict)


def find_table(root: Path) -> Path | None:
    """The table in a folder, by its usual names; None if there is none."""
    return next((root / name for name in TABLES if (root / name).is_file()), None)


def label_names(path: Path) -> tuple[str, ...]:
    """The names of the columns of a table that hold labels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    return tuple(name for name in _columns(path) if name != IMAGE and name not in PERSON)


def read_label_table(
    path: Path, *, names: Sequence[str] | None = None, soft: bool = False, blanks: bool = False,
    counts: dict[str, int] | None = None,
) -> LabelTable:
    """The images and values of a table.

    Args:
        path: ``.csv`` or ``.parquet`` with an ``image`` column and a column a label, or LFW's
            ``lfw_attributes.txt``, in which a score above 0 is a yes.
        names: the labels wanted, in this order; None takes all columns.
        soft: cells are probabilities in [0, 1]; else 1, 0, -1 (no, too), yes, no, true, false, or blank or NA
            (unknown).
        blanks: probabilities may be blank, too: nothing is said of that photo.
        counts: columns that hold a class, 0 to K - 1, or blank: name -> K.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no ``image`` column, lacks a label, names an image twice, or has a cell that
            is no such value; the message names the line.
    """
    columns, kinds = _columns(path), dict(counts or {})
    if IMAGE not in columns:
        raise ValueError(
            f"{path} has no column {IMAGE!r}; it has {', '.join(columns)}; columns are parted by commas, "
            "semicolons or tabs"
        )
    images = tuple(item.replace("\\", "/") for item in columns[IMAGE])
    if not images:
        raise ValueError(f"{path} has no rows")
    if "" in images:
        raise ValueError(f"{path}, row {images.index('') + 1}: its cell {IMAGE} is blank; name a photo")
    if len(set(images)) < len(images):
        twice = next(image for n, image in enumerate(images) if image in images[:n])
        raise ValueError(f"{path} names {twice} more than once; leave one row")
    known = [name for name in columns if name != IMAGE and name not in PERSON]
    wanted = list(known if names is None else names)
    lacking = [name for name in wanted if name not in known]
    if lacking or not wanted:
        absent = ", ".join(lacking) or "of labels"
        raise ValueError(f"{path} has no column {absent}; it has {', '.join(known) or 'none'}")
    values = np.column_stack([
        _values(
            columns[name], name, path, soft=soft, blanks=blanks or not soft, classes=kinds.get(name)
        ) for name in wanted
    ])
    person = next((name for name in PERSON if name in columns), None)
    people = None if person is None else tuple(map(clean_name, columns[person]))
    return LabelTable(images, tuple(wanted), values.astype(np.float32), people, kinds)


def _columns(path: Path) -> dict[str, list[str]]:
    """The cells of each column as texts."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a table is a .csv or .parquet with an {IMAGE} column")
    if path.suffix == ".txt":
        return _scores(path)
    table = read_table(path)
    for row in table.misfits:
        raise ValueError(
            f"{path}, row {row.row}: {len(table.columns)} columns expected, got {row.fields}; mend the row"
        )
    image = next((name for name in IMAGE_NAMES if name in table.columns), IMAGE)
    return {IMAGE if key == image else key: table.texts(key) for key in table.columns}


def _scores(path: Path) -> dict[str, list[str]]:
    """LFW's attributes: tab-separated ``person imagenum score...`` below a header that starts with ``#``."""
    lines = read_text(path).splitlines()
    at = next((n for n, line in enumerate(lines) if "imagenum" in line), None)
    if at is None:
        raise ValueError(f"{path} has no header line `#\tperson\timagenum\tATTRIBUTE...`")
    names = lines[at].lstrip("#").strip("\t ").split("\t")[2:]
    columns: dict[str, list[str]] = {key: [] for key in (IMAGE, "person", *names)}
    for number, line in enumerate(lines[at + 1 :], at + 2):
        cells = line.split("\t")
        if len(cells) != len(names) + 2:
            raise ValueError(f"{path}, line {number}: {len(names) + 2} columns expected, got {len(cells)}")
        person = cells[0].strip().replace(" ", "_")
        try:
            columns[IMAGE].append(f"{person}/{person}_{int(cells[1]):04d}.jpg")
            for name, cell in zip(names, cells[2:], strict=True):
                columns[name].append(str(int(float(cell) > 0)))
        except ValueError as err:
            raise ValueError(f"{path}, line {number}: a score is no number ({err})") from err
        columns["person"].append(person)
    return columns


def _values(
    cells: Sequence[str], name: str, path: Path, *, soft: bool, blanks: bool, classes: int | None
) -> NDArray[np.float64]:
    result = np.empty(len(cells))
    for row, cell in enumerate(cells):
        word = "" if cell.casefold() in MISSING else cell
        result[row] = _value(word, soft, classes)
        if np.isinf(result[row]) or (np.isnan(result[row]) and (not blanks or (soft and word != ""))):
            wanted = (
                "a probability from 0 to 1" if soft
                else "0, 1, -1, yes, no or blank" if classes is None
                else f"a whole number from 0 to {classes - 1}"
            )
            raise ValueError(
                f"{path}, row {row + 1}, column {name}: expected {wanted}, got {cell!r}; if it holds "
                "no label, name the columns that do (NAME:K holds a class, 0 to K - 1)"
            )
    return result


def _value(word: str, soft: bool, classes: int | None) -> float:
    """The value of a cell; infinity for one that is none."""
    if not soft and classes is None:
        return WORDS.get(word.casefold(), np.inf) if word else np.nan
    if word == "":
        return np.nan
    try:
        value = float(word)
    except ValueError:
        return np.inf
    top, whole = (1.0, False) if classes is None else (classes - 1.0, not soft)
    return value if 0 <= value <= top and (not whole or value.is_integer()) else np.inf


def photos_of_table(root: Path, table: LabelTable, where: Path) -> MultiLabelDataset:
    """The images that a table names, with notes on what is on one side only.

    The person on an image is what the table says, else its folder, where there are several.

    Raises:
        FileNotFoundError: none of the images is there; the message says where they were looked for.
    """
    base = next((root / f for f in FOLDERS if (root / f / table.images[0]).is_file()), None)
    base = base or next((root / f for f in FOLDERS if (root / f).is_dir()), root)
    named = NamedPhotos(base)
    files = {n: path for n, image in enumerate(table.images) if (path := named.find(image)) is not None}
    there = list(files)
    if not there:
        raise FileNotFoundError(
            f"none of the {len(table.images)} photos of {where} is there, such as {base / table.images[0]}; "
            "its column image names them from the folder --data, or from images/ in it"
        )
    people = _people(table)
    dataset = MultiLabelDataset(
        list(files.values()), table.names, table.values[there],
        people=None if people is None else [people[n] for n in there],
    )
    nameless = sum(not person for person in table.people or ())
    if nameless:
        dataset.notes.append(
            f"{where} does not say who is on {nameless} photos: people are told apart by folders there, or "
            "each photo is a person of its own"
        )
    lost = [image for n, image in enumerate(table.images) if n not in files]
    if lost:
        dataset.notes.append(
            f"{where} names {len(lost)} photos that are missing, such as {lost[0]}: left out"
        )
    listed = set(files.values())
    more = [path for path in find_images([base], beside=(".csv", ".parquet", ".txt")) if path not in listed]
    if more:
        item = more[0].relative_to(base)
        dataset.notes.append(f"{len(more)} photos are not in {where}, such as {item}: left out")
    return dataset


def _people(table: LabelTable) -> tuple[str, ...] | None:
    """Who is on each photo: as the table says, else its folder where there are several, else itself."""
    folders = [str(Path(image).parent) for image in table.images]
    several = len(set(folders)) > 1
    if table.people is None or not any(table.people):
        return tuple(folders) if several else None
    rest = (
        [f"folder {folder}" for folder in folders]
        if several
        else [f"photo {image}" for image in table.images]
    )
    return tuple(person or other for person, other in zip(table.people, rest, strict=True))
