"""ImageNet's 1000 classes: images in folders by WordNet number, or the flat validation set with its list."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from datasets.base import ImageDataset, Photo
from datasets.classification.mat_lists import read_mat
from datasets.classification.wordnet import class_names
from datasets.folders import find_in_each, loose_images, subfolders
from datasets.outside import one_line
from datasets.validation import read_text

SYNSET_LISTS = ("imagenet_2012_validation_synset_labels.txt", "synset_labels.txt")
SOLUTION = "LOC_val_solution.csv"
GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"

_WNID = re.compile(r"(n\d{8})(?:-.+)?")
_FLAT_NAME = re.compile(r"ILSVRC2012_val_(\d{8})")
_DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
_LAYOUTS = "val/WNID/*.JPEG, WNID/*.JPEG, or ILSVRC2012_val_00000001.JPEG and so on with their list of labels"
_OFFICIAL = "give the official list of all 50,000"

LabelOf = Callable[[Path], int]


@lru_cache(maxsize=1)
def imagenet_wnids() -> tuple[str, ...]:
    """The 1000 WordNet numbers in rising order, which is the order of the weights' outputs."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


@lru_cache(maxsize=1)
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names in the order of the WordNet numbers, each different."""
    return class_names(imagenet_wnids())


class ImageNetTrain(ImageDataset):
    """Photos to learn from, in ``train/WNID/*.JPEG``; some of the 1000 classes are enough.

    Args:
        root: folder with ``train``.
        min_side: as for :class:`ImageDataset`.

    Raises:
        FileNotFoundError: there is no ``train``.
        ValueError: a folder is none of the 1000 classes or holds no image, or there is no folder.
    """

    def __init__(self, root: Path | str, *, min_side: int | None = None) -> None:
        folder = Path(root) / "train"
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is missing: training on ImageNet's classes needs train/WNID/*.JPEG, "
                f"such as {folder / 'n02111889'}/1.JPEG"
            )
        super().__init__(_in_folders(subfolders(folder), folder), imagenet_classes(), min_side=min_side)
        self.notes += _notes(self, folder)


class ImageNetVal(ImageDataset):
    """Photos to evaluate on; labels are 0 to 999 in the order of the WordNet numbers.

    The images lie in ``val/WNID/``, in ``WNID/``, or without folders as published (in ``val/`` or the root);
    these need the list of their labels beside them or in the root: a list of WordNet numbers in the order
    of the photos' numbers (:data:`SYNSET_LISTS`), Kaggle's :data:`SOLUTION`, or the devkit's
    :data:`GROUND_TRUTH` with its :data:`META`. Some of the classes and some of the images are enough.

    Args:
        root: folder of one of these layouts.
        min_side: as for :class:`ImageDataset`.

    Raises:
        FileNotFoundError: the root, the list or ``meta.mat`` is missing.
        NotADirectoryError: the root is a file.
        ValueError: there are no images, a WordNet number is none of the 1000, an image has no label in the
            list, or the list cannot be read.

    Source: Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge", IJCV 115.
    """

    def __init__(self, root: Path | str, *, min_side: int | None = None) -> None:
        root = Path(root)
        folder, photos = _find_val(root)
        super().__init__(photos, imagenet_classes(), min_side=min_side)
        self.notes += _notes(self, folder)


def _find_val(root: Path) -> tuple[Path, list[Photo]]:
    """The folder that holds the validation images, and these."""
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; give a folder with {_LAYOUTS}")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; give a folder with {_LAYOUTS}")
    val = root / "val"
    if val.is_dir() and (folders := subfolders(val)):
        return val, _in_folders(folders, val)
    if folders := [subfolder for subfolder in subfolders(root) if _WNID.fullmatch(subfolder.name)]:
        return root, _in_folders(folders, root)
    for folder in (val, root):
        if photos := loose_images(folder):
            label = _list_of(folder, root)
            return folder, [Photo(path, label(path)) for path in photos]
    what = "is empty" if not any(root.iterdir()) else "has no validation photos"
    raise ValueError(f"{root} {what}; expected {_LAYOUTS} in it")


def _in_folders(folders: list[Path], parent: Path) -> list[Photo]:
    """The images of class folders, at any depth."""
    if not folders:
        raise ValueError(f"{parent} has no class folders; expected WNID/*.JPEG in it")
    labels = [_label(_wnid_of(folder.name), f"class folder {folder}") for folder in folders]
    photos: list[Photo] = []
    of_folder = find_in_each(folders, parent)
    for folder, label in zip(folders, labels, strict=True):
        results = [Photo(path, label) for path in of_folder[folder]]
        if not results:
            raise ValueError(f"{folder} has no photo; put some there or remove the folder")
        photos += results
    return photos


def _wnid_of(folder: str) -> str:
    """``n02111889`` of ``n02111889-Samoyed``; any other name as it is."""
    match = _WNID.fullmatch(folder)
    return match[1] if match else folder


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {wnid: number for number, wnid in enumerate(imagenet_wnids())}


def _label(wnid: str, where: str) -> int:
    """0 to 999 for one of the WordNet numbers, or an error that says where another was read."""
    if wnid not in _numbers():
        raise ValueError(
            f"{where}: {wnid!r} is none of ImageNet's 1000 WordNet numbers, which look like n02111889; "
            "remove it or correct it"
        )
    return _numbers()[wnid]


def _list_of(photos: Path, root: Path) -> LabelOf:
    """How the images of a flat folder get their labels: from the first list that there is."""
    places = list(dict.fromkeys((photos, root, root / _DEVKIT, photos.parent)))
    results = {name: path for name in (*SYNSET_LISTS, SOLUTION, GROUND_TRUTH, META)
             if (path := _first(places, name)) is not None}
    for name in SYNSET_LISTS:
        if name in results:
            return _by_line(results[name], _read_synsets(results[name]))
    if SOLUTION in results:
        return _by_name(results[SOLUTION], _read_solution(results[SOLUTION]))
    if GROUND_TRUTH not in results:
        raise FileNotFoundError(
            f"{photos} has photos without class folders, and there is no list of their labels: put "
            f"{SYNSET_LISTS[1]}, {SOLUTION}, or {GROUND_TRUTH} and {META} beside them"
        )
    truth = results[GROUND_TRUTH]
    if META not in results:
        raise FileNotFoundError(
            f"{truth} has the challenge's own class numbers, not in the order of the WordNet numbers: put "
            f"{META} of the devkit ILSVRC2012_devkit_t12 beside it"
        )
    return _by_line(truth, _read_truth(truth, _read_meta(results[META])))


def _first(places: list[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _by_line(listing: Path, labels: list[int]) -> LabelOf:
    """The label on the line that an image's own number names, so that some of the images are enough."""

    def label_of(photo: Path) -> int:
        match = _FLAT_NAME.fullmatch(photo.stem)
        if match is None or int(match[1]) < 1:
            raise ValueError(
                f"{photo} is not called like ILSVRC2012_val_00000001.JPEG, so {listing.name} does not tell "
                "its label; rename or remove it"
            )
        if int(match[1]) > len(labels):
            raise ValueError(
                f"{listing} has {len(labels)} lines, none for {photo.name}; {_OFFICIAL}"
            )
        return labels[int(match[1]) - 1]

    return label_of


def _by_name(listing: Path, labels: dict[str, int]) -> LabelOf:
    def label_of(photo: Path) -> int:
        if photo.stem not in labels:
            raise ValueError(f"{listing} has {len(labels)} rows, none for {photo.name}; {_OFFICIAL}")
        return labels[photo.stem]

    return label_of


def _lines(listing: Path) -> list[tuple[str, str]]:
    """(place, text) of each line without the blank ones at the end."""
    lines = read_text(listing).rstrip().splitlines()
    return [(f"{listing} line {number}", line.strip()) for number, line in enumerate(lines, start=1)]


def _read_synsets(listing: Path) -> list[int]:
    return [_label(text, where) for where, text in _lines(listing)]


def _read_solution(listing: Path) -> dict[str, int]:
    """Kaggle's ``ILSVRC2012_val_00048981,n03995372 85 1 499 272 ...``: the first word is the class."""
    head, *rows = _lines(listing) or [("", "")]
    if head[1].split(",")[:2] != ["ImageId", "PredictionString"]:
        raise ValueError(f"{listing} must begin with 'ImageId,PredictionString', not with {head[1][:40]!r}")
    labels: dict[str, int] = {}
    for (where, _), cells in zip(rows, csv.reader(text for _, text in rows), strict=True):
        name, answer = (*cells, "", "")[:2]
        labels[name] = _label(answer.partition(" ")[0], where)
    return labels


def _read_truth(listing: Path, label_of_id: dict[int, int]) -> list[int]:
    labels: list[int] = []
    for where, text in _lines(listing):
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) not in label_of_id:
            raise ValueError(f"{where}: {text[:40]!r} is no class number of {META} (1 to {len(label_of_id)})")
        labels.append(label_of_id[int(text)])
    return labels


def _read_meta(path: Path) -> dict[int, int]:
    """Labels by the challenge's class numbers 1 to 1000; the synsets above the classes are left out."""
    with one_line(path, "unpack it again", "is not the devkit's list of classes"):
        synsets = read_mat(path)["synsets"]
        named = [(int(row["ILSVRC2012_ID"][0]), str(row["WNID"])) for row in synsets]
    return {number: _label(wnid, str(path)) for number, wnid in named if number <= len(imagenet_wnids())}


def _notes(data: ImageDataset, folder: Path) -> Sequence[str]:
    """What looks odd but stops nothing."""
    counts = data.counts()
    notes = []
    if absent := counts.count(0):
        notes.append(f"{len(counts) - absent} of the {len(counts)} classes have photos in {folder}")
    loose = len(loose_images(folder)) if data.photos[0].path.parent != folder else 0
    if loose:
        notes.append(f"{loose} photos lie in {folder} outside any class folder: left out")
    return notes
