"""The plain layout: ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.base import ImageDataset, Photo
from datasets.classification.wordnet import class_names, folder_ids, match_classes
from datasets.image_io import IMAGE_SUFFIXES, find_images

_LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg"
_FOLDERS_OF = {"train": ("train",), "val": ("val", "valid", "test")}


def has_split(root: Path | str, split: str) -> bool:
    """Whether a root has a folder for a split, ``train`` or ``val`` (also called valid or test)."""
    return _split_folder(Path(root), split) is not None


class ImageFolders(ImageDataset):
    """Photos in one folder a class, below one folder a split.

    Classes are the folders of ``train`` in the order of their names, also for ``val``. A folder
    ``n02111889-Samoyed`` or ``n02111889`` is shown as "Samoyed"; images may lie deeper than the class folder.

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
        folders = _class_folders(root, _existing_split(root, split))
        names = [folder.name for folder in folders]
        if classes is None:
            self.class_ids = _ids_of_root(root, folders)
            classes = class_names(self.class_ids)
            labels = match_classes(names, self.class_ids, f"{root / 'train'}")
        else:
            labels = match_classes(names, classes, "the checkpoint")
            self.class_ids = folder_ids(names, labels, classes)
        photos = [
            Photo(path, label)
            for folder, label in zip(folders, labels, strict=True)
            for path in _photos_of_class(folder)
        ]
        super().__init__(photos, classes, min_side=min_side)
        self.notes += _notes(folders[0].parent, self.classes, self.counts())


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
        raise NotADirectoryError(f"{root} is a file; give a folder with {_LAYOUT}")
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
    want = f"expected {_LAYOUT} in it"
    if not any(root.iterdir()):
        return f"{root} is empty; {want}"
    if root.name in {name for names in _FOLDERS_OF.values() for name in names}:
        return f"{root} is the folder of one split; give the folder above it, {root.parent}"
    classes = [folder.name for folder in _subfolders(root) if next(find_images([folder]), None)]
    if classes:
        shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        where = root / "train"
        return f"{root} has class folders ({shown}) but no {split} folder; {want}: move them into {where}"
    return f"{root} has no {split} folder; {want}"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_folders(root: Path, split_folder: Path) -> list[Path]:
    folders = _subfolders(split_folder)
    if not folders:
        raise ValueError(f"{split_folder} has no class folders; expected {_LAYOUT} in {root}")
    return folders


def _ids_of_root(root: Path, folders: list[Path]) -> tuple[str, ...]:
    """Class folders of train, also for val, so that a class that val lacks keeps its number."""
    train = _split_folder(root, "train")
    ids = tuple(folder.name for folder in (_subfolders(train) if train else folders))
    if len(ids) < 2:
        where = train or folders[0].parent
        raise ValueError(f"{where} has {len(ids)} class folder; there must be 2 or more, one for each class")
    return ids


def _photos_of_class(folder: Path) -> list[Path]:
    photos = list(find_images([folder]))
    if not photos:
        raise ValueError(f"{folder} has no photo; put some there or remove the folder")
    return photos


def _notes(split_folder: Path, classes: Sequence[str], counts: list[int]) -> list[str]:
    """What looks odd but stops nothing."""
    named = list(zip(classes, counts, strict=True))
    notes = [f"class {name!r} has one photo only in {split_folder}" for name, count in named if count == 1]
    absent = [name for name, count in named if count == 0]
    if absent:
        names = ", ".join(absent)
        notes.append(f"{len(absent)} of {len(classes)} classes have no photo in {split_folder}: {names}")
    loose = sum(entry.suffix.lower() in IMAGE_SUFFIXES for entry in split_folder.iterdir())
    if loose:
        notes.append(f"{loose} photos lie in {split_folder} outside any class folder: left out")
    return notes
