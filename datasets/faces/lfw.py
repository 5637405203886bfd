"""Labeled Faces in the Wild: ``PERSON/PERSON_0001.jpg`` and the pairs of ``pairs.txt``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datasets.names import NamedPhotos, exists
from datasets.tables import clean_name
from datasets.validation import read_text

PAIRS = "pairs.txt"
FOLDERS = ("images", "lfw", "lfw-deepfunneled", "lfw_funneled", ".")


@dataclass(frozen=True)
class Pair:
    """Two images, and whether they show one person.

    Args:
        first: name of an image, ``PERSON/PERSON_0001``.
        second: name of another.
        same: whether both show one person.
        fold: 1 to the number of folds; people are in one fold only.
    """

    first: str
    second: str
    same: bool
    fold: int


class LFW:
    """Photos and pairs in the layout in which LFW is distributed.

    Args:
        root: folder with ``pairs.txt``, and the people's folders in it or in ``images/`` or ``lfw/``.
        pairs: the list of pairs, where it lies elsewhere.
        folds: which folds, 1 upwards; None for all.

    Attributes:
        pairs: those of which both images are there.
        paths: name -> file of every image in a pair.
        notes: sentences on what is missing.

    Raises:
        FileNotFoundError: the list or all its images are missing.
        ValueError: the list is not in LFW's format, or has no such fold.
    """

    def __init__(
        self, root: Path | str, *, pairs: Path | None = None, folds: Iterable[int] | None = None
    ) -> None:
        root = Path(root)
        listing = pairs or root / PAIRS
        if not listing.is_file():
            raise FileNotFoundError(f"{listing} is missing; put LFW's pairs.txt into {root}")
        asked = read_pairs(listing)
        if folds is not None:
            asked = _of_folds(asked, set(folds), listing)
        self.paths = dict(_photos_of(root, {name for p in asked for name in (p.first, p.second)}))
        self.pairs = [p for p in asked if p.first in self.paths and p.second in self.paths]
        if not self.pairs:
            raise FileNotFoundError(
                f"none of the photos of {listing} are in {root}; they should lie there, or in images/, as "
                f"{asked[0].first}.jpg"
            )
        lost = len(asked) - len(self.pairs)
        self.notes = [f"{lost} of {len(asked)} pairs of {listing} lack a photo: left out"] if lost else []


def is_lfw(root: Path) -> bool:
    """Whether a folder has a list of pairs."""
    return (root / PAIRS).is_file()


def read_pairs(listing: Path) -> list[Pair]:
    """The pairs of a file in LFW's format.

    The first line tells the folds and the pairs of a kind in each (``10 300``), or only the latter
    (``500``: one fold). Each fold lists pairs of one person (``NAME 1 4``), then pairs of two
    (``NAME 1 OTHER 2``).

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is in another format, or their number is another than the first line says.
    """
    lines = [_fields(line) for line in read_text(listing).splitlines() if line.strip()]
    try:
        head = [int(value) for value in lines[0]]
        folds, each = head if len(head) == 2 else (1, head[0])
        if folds < 1 or each < 1:
            raise ValueError("no pair")
    except (IndexError, ValueError) as err:
        raise ValueError(
            f"{listing}: the first line must be `folds pairs`, both 1 or more, such as `10 300`"
        ) from err
    if len(lines) - 1 != folds * each * 2:
        raise ValueError(
            f"{listing}: {folds} folds of {each} + {each} pairs make {folds * each * 2} lines, got "
            f"{len(lines) - 1}; the file is cut off or of another kind"
        )
    return [
        _pair(words, number // (2 * each) + 1, listing, number + 2) for number, words in enumerate(lines[1:])
    ]


def _fields(line: str) -> list[str]:
    """The fields of a line: between tabs, where names may hold blanks, else between blanks."""
    return [clean_name(field) for field in (line.split("\t") if line.count("\t") > 1 else line.split())]


def _pair(words: list[str], fold: int, listing: Path, line: int) -> Pair:
    try:
        if len(words) == 3:
            name, first, second = words
            return Pair(_name(name, first), _name(name, second), True, fold)
        item, first, other, second = words
        return Pair(_name(item, first), _name(other, second), False, fold)
    except ValueError as err:
        raise ValueError(
            f"{listing}, line {line}: expected `NAME 1 4` or `NAME 1 OTHER 2`, got {' '.join(words)!r}"
        ) from err


def _name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"


def _of_folds(pairs: list[Pair], folds: set[int], listing: Path) -> list[Pair]:
    there = {pair.fold for pair in pairs}
    if not folds or not folds <= there:
        wrong = ", ".join(map(str, sorted(folds - there))) or "none"
        raise ValueError(f"{listing} has the folds 1 to {max(there)}, not {wrong}")
    return [pair for pair in pairs if pair.fold in folds]


def _photos_of(root: Path, names: set[str]) -> Iterator[tuple[str, Path]]:
    """Files of the images, in the first folder that has any of their people."""
    people = {name.split("/")[0] for name in names}
    base = next((root / f for f in FOLDERS if any(exists(root / f / person) for person in people)), root)
    named = NamedPhotos(base)
    for name in sorted(names):
        path = named.find(name)
        if path is not None:
            yield name, path


def people_folder(data: Path) -> Path:
    """The folder with a folder a person: LFW's layouts keep it beside ``pairs.txt`` or below it."""
    if not is_lfw(data):
        return data
    return next((data / name for name in FOLDERS if name != "." and (data / name).is_dir()), data)
