"""The plain layout: ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.base import ImageDataset, Photo
from datasets.classification.wordnet import class_names, folder_ids, match_classes
from datasets.described.layouts import Described, described, described_splits, near_miss
from datasets.described.metadata import FILE_NAME, by_number, label_of
from datasets.folders import find_images, find_in_each, loose_images, subfolders
from datasets.tables import clean_name

_LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg"
_FOLDERS_OF = {"train": ("train",), "val": ("val", "valid", "validation", "test")}


def has_split(root: Path | str, split: str) -> bool:
    """Whether a root has a folder for a split, ``train`` or ``val`` (also called valid or test)."""
    return _split_folder(Path(root), split) is not None or split in described_splits(Path(root))


class ImageFolders(ImageDataset):
    """Photos in one folder a class, below one folder a split.

    Classes are the folders of ``train`` in the order of their names, also for ``val``. A folder
    ``n02111889-Samoyed`` or ``n02111889`` is shown as "Samoyed"; photos may lie deeper than the class folder.
    Folders whose names differ by blanks at their ends, or by how an accent is stored, are of one class.

    Args:
        root: folder with ``train`` and ``val``; ``valid`` or ``test`` is taken where ``val`` is missing.
        split: ``train`` or ``val``.
        classes: names or folder names from a checkpoint; labels follow them.
        min_side: as for :class:`ImageDataset`.

    Attributes:
        class_ids: the folder names, one a class; a class that has no folder here gives its name.

    Raises:
        FileNotFoundError: root or the split is missing, or the layout is another.
        NotADirectoryError: root is a file.
        ValueError: an empty class folder, fewer than two classes, or a folder that is not among ``classes``.
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        *,
        classes: Sequence[str] | None = None,
        min_side: int | None = None,
    ) -> None:
        root = Path(root)
        described = _described(root, split)
        if described is not None:
            self._read_described(root, described, classes, min_side)
            return
        folders = _class_folders(root, _existing_split(root, split))
        names = list(dict.fromkeys(clean_name(folder.name) for folder in folders))
        if classes is None:
            self.class_ids = _ids_of_root(root, names)
            classes = class_names(self.class_ids)
            labels = match_classes(names, self.class_ids, f"{root / 'train'}")
        else:
            labels = match_classes(names, classes, "the checkpoint")
            self.class_ids = folder_ids(names, labels, classes)
        label_of = dict(zip(names, labels, strict=True))
        photos = [
            Photo(path, label_of[clean_name(folder.name)])
            for folder, paths in _photos_of_classes(folders).items() for path in paths
        ]
        super().__init__(photos, classes, min_side=min_side)
        self.notes += [*_merged(folders), *_notes(folders[0].parent, self.classes, self.counts())]

    def _read_described(
        self, root: Path, part: Described, classes: Sequence[str] | None, min_side: int | None
    ) -> None:
        """Photos whose classes are in descriptions of them."""
        rows, notes = _labelled(part)
        train = _described(root, "train")
        every = rows if train is None else _labelled(train)[0]
        self.class_ids = tuple(sorted({label for _, label in every}, key=by_number))
        names = list(dict.fromkeys(label for _, label in rows))
        wanted = self.class_ids if classes is None else classes
        labels = match_classes(names, wanted, "the checkpoint" if classes else f"{(train or part).where}")
        if classes is not None:
            self.class_ids = folder_ids(names, labels, classes)
        number = dict(zip(names, labels, strict=True))
        super().__init__([Photo(path, number[label]) for path, label in rows], wanted, min_side=min_side)
        self.notes += [*part.notes, *notes, *_notes(part.where, self.classes, self.counts(), loose=0)]


def _described(root: Path, split: str) -> Described | None:
    """The described photos of a split; None where its classes are folders, or nothing describes it."""
    folder = _split_folder(root, split)
    return None if folder is not None and subfolders(folder) else described(root, split)


def _labelled(part: Described) -> tuple[list[tuple[Path, str]], list[str]]:
    """(photo, class) of those that have one, and a sentence on the others.

    Raises:
        ValueError: none has one.
    """
    named = [(path, label_of(row)) for path, row in part.rows]
    rows = [(path, label) for path, label in named if label is not None]
    without = [row for (_, row), (_, label) in zip(part.rows, named, strict=True) if label is None]
    if not without:
        return rows, []
    first = without[0][FILE_NAME]
    if not rows:
        raise ValueError(f"{part.where}: {first} has no label; it has {', '.join(without[0])}")
    words = f"{len(without)} of {len(named)} photos have no label and are left out, such as {first}"
    return rows, [f"{part.where}: {words}"]


def _split_folder(root: Path, split: str) -> Path | None:
    if split not in _FOLDERS_OF:
        raise ValueError(f"split must be one of {', '.join(_FOLDERS_OF)}, got {split!r}")
    candidates = (root / name for name in _FOLDERS_OF[split])
    return next((folder for folder in candidates if folder.is_dir()), None)


def _existing_split(root: Path, split: str) -> Path:
    """The folder of a split, or an error that says how the root should look."""
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; give a folder with {_LAYOUT}")
    if not root.is_dir():
        raise NotADirectoryError(
            f"{root} is a file; give a folder with {_LAYOUT}, a tar shard or a Parquet file with images"
        )
    folder = _split_folder(root, split)
    if folder is not None:
        return folder
    if split == "val" and has_split(root, "train"):
        raise FileNotFoundError(
            f"{root} has no val folder (nor valid, nor test); "
            f"add {root / 'val'}/CLASS/*.jpg, or split some of train off"
        )
    raise FileNotFoundError(_wrong_layout(root, split))


def _wrong_layout(root: Path, split: str) -> str:
    want = "; ".join(filter(None, (f"expected {_LAYOUT} in it", near_miss(root))))
    if not any(root.iterdir()):
        return f"{root} is empty; {want}"
    if root.name in {name for names in _FOLDERS_OF.values() for name in names}:
        return f"{root} is the folder of one split; give the folder above it, {root.parent}"
    classes = [folder.name for folder in subfolders(root) if next(find_images([folder]), None)]
    if classes:
        shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        where = root / "train"
        return f"{root} has class folders ({shown}) but no {split} folder; {want}: move them into {where}"
    return f"{root} has no {split} folder; {want}"


def _class_folders(root: Path, split_folder: Path) -> list[Path]:
    folders = subfolders(split_folder)
    if not folders:
        raise ValueError(f"{split_folder} has no class folders; expected {_LAYOUT} in {root}")
    return folders


def _ids_of_root(root: Path, names: list[str]) -> tuple[str, ...]:
    """Class folders of train, also for val, so that a class that val lacks keeps its number."""
    train = _split_folder(root, "train")
    ids = tuple(dict.fromkeys(clean_name(folder.name) for folder in subfolders(train)) if train else names)
    if len(ids) < 2:
        raise ValueError(
            f"{train or root} has {len(ids)} class folder; there must be 2 or more, one for each class"
        )
    return ids


def _photos_of_classes(folders: list[Path]) -> dict[Path, list[Path]]:
    photos = find_in_each(folders, folders[0].parent)
    empty = next((folder for folder, paths in photos.items() if not paths), None)
    if empty is not None:
        raise ValueError(f"{empty} has no photo; put some there or remove the folder")
    return photos


def _merged(folders: list[Path]) -> list[str]:
    """A sentence on folders that are of one class though their names differ."""
    of_name: dict[str, list[str]] = {}
    for folder in folders:
        of_name.setdefault(clean_name(folder.name), []).append(folder.name)
    return [
        f"folders {', '.join(map(ascii, same))} in {folders[0].parent} are one class, {name!r}"
        for name, same in of_name.items() if len(same) > 1
    ]


def _notes(
    split_folder: Path, classes: Sequence[str], counts: list[int], loose: int | None = None
) -> list[str]:
    """What looks odd but stops nothing."""
    named = list(zip(classes, counts, strict=True))
    notes = [f"class {name!r} has one photo only in {split_folder}" for name, count in named if count == 1]
    absent = [name for name, count in named if count == 0]
    if absent:
        names = ", ".join(absent)
        notes.append(f"{len(absent)} of {len(classes)} classes have no photo in {split_folder}: {names}")
    loose = len(loose_images(split_folder)) if loose is None else loose
    if loose:
        notes.append(f"{loose} photos lie in {split_folder} outside any class folder: left out")
    return notes
