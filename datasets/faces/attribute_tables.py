"""Tables of attributes: CSV or Parquet with an ``image`` column, and LFW's table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from datasets.image_io import find_images
from datasets.multilabel import MultiLabelDataset

IMAGE = "image"
PERSON = ("identity", "person")
FOLDERS = ("images", "img_align_celeba", "lfw", ".")
TABLES = ("attributes.csv", "attributes.parquet", "lfw_attributes.txt")
WORDS = {"": np.nan, "0": 0.0, "1": 1.0, "-1": 0.0, "0.0": 0.0, "1.0": 1.0, "-1.0": 0.0}


@dataclass(frozen=True)
class AttributeTable:
    """What a table says.

    Args:
        images: names of images, as the table has them.
        names: of the attributes.
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


def attribute_names(path: Path) -> tuple[str, ...]:
    """The names of the columns of a table that hold attributes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    return tuple(name for name in _table(path).column_names if name != IMAGE and name not in PERSON)


def read_attribute_table(
    path: Path, *, names: Sequence[str] | None = None, soft: bool = False, blanks: bool = False,
    counts: dict[str, int] | None = None,
) -> AttributeTable:
    """The images and values of a table.

    Args:
        path: ``.csv`` or ``.parquet`` with an ``image`` column and a column an attribute, or LFW's
            ``lfw_attributes.txt``, in which a score above 0 is a yes.
        names: the attributes wanted, in this order; None takes all columns.
        soft: cells are probabilities in [0, 1]; else 1, 0, -1 (no, too) or blank (unknown).
        blanks: probabilities may be blank, too: nothing is said of that image.
        counts: columns that hold a class, 0 to K - 1, or blank: name -> K.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no ``image`` column, lacks an attribute, names an image twice, or has a cell that
            is no such value; the message names the line.
    """
    table, kinds = _table(path), dict(counts or {})
    if IMAGE not in table.column_names:
        raise ValueError(
            f"{path} has no column {IMAGE!r}; it has {', '.join(table.column_names)}; columns are parted by "
            "commas"
        )
    images = tuple("" if item is None else str(item).replace("\\", "/") for item in table[IMAGE].to_pylist())
    if not images:
        raise ValueError(f"{path} has no rows")
    if "" in images:
        raise ValueError(f"{path}, row {images.index('') + 1}: its cell {IMAGE} is blank; name a photo")
    if len(set(images)) < len(images):
        twice = next(image for n, image in enumerate(images) if image in images[:n])
        raise ValueError(f"{path} names {twice} more than once; leave one row")
    known = [name for name in table.column_names if name != IMAGE and name not in PERSON]
    wanted = list(known if names is None else names)
    lacking = [name for name in wanted if name not in known]
    if lacking or not wanted:
        absent = ", ".join(lacking) or "of attributes"
        raise ValueError(f"{path} has no column {absent}; it has {', '.join(known) or 'none'}")
    values = np.column_stack([
        _values(
            table[name].to_pylist(), name, path, soft=soft, blanks=blanks or not soft, classes=kinds.get(name)
        ) for name in wanted
    ])
    person = next((name for name in PERSON if name in table.column_names), None)
    people = None
    if person is not None:
        people = tuple("" if item is None else str(item).strip() for item in table[person].to_pylist())
    return AttributeTable(images, tuple(wanted), values.astype(np.float32), people, kinds)


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a table is a .csv or .parquet with an {IMAGE} column")
    return _scores(path) if path.suffix == ".txt" else _columns(path)


def _columns(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return _once(pa.parquet.read_table(path), path)
        head = path.open(encoding="utf-8-sig").readline().strip().split(",")
        kinds = {name.strip().strip('"'): pa.string() for name in head}
        convert = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
        return _once(pa.csv.read_csv(path, convert_options=convert), path)
    except (pa.ArrowException, UnicodeDecodeError) as err:
        raise ValueError(
            f"{path} is no table that can be read: {err}; save it as CSV in UTF-8, with commas, or as Parquet"
        ) from err


def _once(table: pa.Table, path: Path) -> pa.Table:
    names = table.column_names
    twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
    if twice is not None:
        raise ValueError(f"{path} has two columns {twice!r}; leave one")
    return table


def _scores(path: Path) -> pa.Table:
    """LFW's attributes: tab-separated ``person imagenum score...`` below a header that starts with ``#``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next((n for n, line in enumerate(lines) if "imagenum" in line), None)
    if at is None:
        raise ValueError(f"{path} has no header line `#\tperson\timagenum\tATTRIBUTE...`")
    names = lines[at].lstrip("#").strip("\t ").split("\t")[2:]
    images, people, rows = [], [], []
    for number, line in enumerate(lines[at + 1 :], at + 2):
        cells = line.split("\t")
        if len(cells) != len(names) + 2:
            raise ValueError(f"{path}, line {number}: {len(names) + 2} columns expected, got {len(cells)}")
        person = cells[0].replace(" ", "_")
        try:
            images.append(f"{person}/{person}_{int(cells[1]):04d}.jpg")
            rows.append([str(int(float(cell) > 0)) for cell in cells[2:]])
        except ValueError as err:
            raise ValueError(f"{path}, line {number}: a score is no number ({err})") from err
        people.append(person)
    columns = {name: [row[n] for row in rows] for n, name in enumerate(names)}
    return pa.table({IMAGE: images, "person": people, **columns})


def _values(
    cells: Sequence[Any], name: str, path: Path, *, soft: bool, blanks: bool, classes: int | None
) -> NDArray[np.float64]:
    result = np.empty(len(cells))
    for row, cell in enumerate(cells):
        word = "" if cell is None else str(int(cell) if isinstance(cell, bool) else cell).strip()
        result[row] = _value(word, soft, classes)
        if np.isinf(result[row]) or (np.isnan(result[row]) and (not blanks or (soft and word != ""))):
            wanted = (
                "a probability from 0 to 1" if soft
                else "0, 1, -1 or blank" if classes is None else f"a whole number from 0 to {classes - 1}"
            )
            raise ValueError(
                f"{path}, row {row + 1}, column {name}: expected {wanted}, got {cell!r}; if it is no "
                "attribute, choose the others by --names (NAME:K is a class, 0 to K - 1)"
            )
    return result


def _value(word: str, soft: bool, classes: int | None) -> float:
    """The value of a cell; infinity for one that is none."""
    if not soft and classes is None:
        return WORDS.get("" if word == "nan" else word, np.inf)
    if word == "":
        return np.nan
    try:
        value = float(word)
    except ValueError:
        return np.inf
    top, whole = (1.0, False) if classes is None else (classes - 1.0, not soft)
    return value if 0 <= value <= top and (not whole or value.is_integer()) else np.inf


def photos_of_table(root: Path, table: AttributeTable, where: Path) -> MultiLabelDataset:
    """The images that a table names, with notes on what is on one side only.

    The person on an image is what the table says, else its folder, where there are several.

    Raises:
        FileNotFoundError: none of the images is there; the message says where they were looked for.
    """
    base = next((root / f for f in FOLDERS if (root / f / table.images[0]).is_file()), None)
    base = base or next((root / f for f in FOLDERS if (root / f).is_dir()), root)
    there = [n for n, image in enumerate(table.images) if (base / image).is_file()]
    if not there:
        raise FileNotFoundError(
            f"none of the {len(table.images)} photos of {where} is there, such as {base / table.images[0]}; "
            "its column image names them from the folder --data, or from images/ in it"
        )
    people = _people(table)
    dataset = MultiLabelDataset(
        [base / table.images[n] for n in there], table.names, table.values[there],
        people=None if people is None else [people[n] for n in there],
    )
    nameless = sum(not person for person in table.people or ())
    if nameless:
        dataset.notes.append(
            f"{where} does not say who is on {nameless} photos: people are told apart by folders there, or "
            "each photo is a person of its own"
        )
    lost = [image for image in table.images if not (base / image).is_file()]
    if lost:
        dataset.notes.append(
            f"{where} names {len(lost)} photos that are missing, such as {lost[0]}: left out"
        )
    listed = {base / image for image in table.images}
    more = [path for path in find_images([base]) if path not in listed]
    if more:
        item = more[0].relative_to(base)
        dataset.notes.append(f"{len(more)} photos are not in {where}, such as {item}: left out")
    return dataset


def _people(table: AttributeTable) -> tuple[str, ...] | None:
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
