"""The photos that annotations name, however the name was written down, and the sizes that they tell."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from datasets.file_kinds import is_image_name

TAILS = (4, 3, 2, 1)  # parts of a path that may be all that two files of names share


class NamedPhotos:
    """Finds the files that annotations name.

    A name may have been written on Windows (``images\\a.jpg``) or as part of an address (``a%20b.jpg``),
    start from a folder of another machine (``C:/data/images/a.jpg``), lack its suffix, have that of the file
    that the photo was converted from, or write its accents as a Mac does. The name as it stands comes first.

    Args:
        folders: where names start from, in this order.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._listings: dict[Path, dict[str, list[str]]] = {}
        self._taken: dict[Path, str] = {}

    def find(self, name: str) -> Path | None:
        """The file that a name means; None where there is none, or only one that another name means."""
        for folder in self.folders:
            if _is_file(path := folder / name):
                return path
        for folder in self.folders:
            for parts in path_tails(name):
                file = self._in(folder.joinpath(*parts[:-1]), parts[-1])
                if file is not None:
                    return file if self._taken.setdefault(file, name) == name else None
        return None

    def _in(self, folder: Path, name: str) -> Path | None:
        """The file of a folder with this name, else the only photo with this name but for its suffix."""
        if _is_file(folder / name):
            return folder / name
        if folder not in self._listings:
            self._listings[folder] = _listing(folder)
        listing = self._listings[folder]
        for key in (_plain(name), _stem(name)):
            names = listing.get(key, ())
            if len(names) == 1:
                return folder / names[0]
        return None


def missing_photos(listing: Path, missing: Sequence[str], count: int, hint: str = "") -> list[str]:
    """A sentence on the photos that a list names and that are not there, if there are any.

    Args:
        listing: the list or the folder that names them.
        missing: their names.
        count: of all photos that it names.
        hint: where they were looked for.

    Raises:
        FileNotFoundError: all are missing.
    """
    if not missing:
        return []
    if len(missing) == count:
        names = (
            f"{missing[0]} is not" if count == 1 else f"none of the {count} photos, such as {missing[0]}, is"
        )
        raise FileNotFoundError(" ".join(f"{names} there: {listing} names it{hint}".split()))
    some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return [" ".join(f"{listing}: {len(missing)} of {count} photos are missing and left out: {some}".split())]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero in it
        return False


def exists(path: Path) -> bool:
    """Whether a file or a folder is there; a name that no file system takes is not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a zero in it
        return False


def path_tails(name: str) -> list[list[str]]:
    """The parts of a path as anybody wrote it, then without the first, and so on; last the name alone."""
    results: list[list[str]] = []
    for text in dict.fromkeys((name, unquote(name))):
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        while ".." in parts:
            parts = parts[parts.index("..") + 1 :]
        results += [parts[at:] for at in range(len(parts))]
    return results


def match_names(names: Sequence[str], photos: Sequence[str]) -> NDArray[np.int64]:
    """For each image the index among ``names`` of its name, -1 where none or several fit.

    Whole paths come first, then their ends, the longest first, then file names without a suffix of images.
    """
    index = np.full(len(photos), -1)
    levels = [_slashed, *(lambda name, parts=parts: _end(name, parts) for parts in TAILS), _without_suffix]
    for key in levels:
        used = set(index.tolist())
        known = _once({row: key(name) for row, name in enumerate(names) if row not in used})
        asked = _once({row: key(photos[row]) for row in np.flatnonzero(index < 0).tolist()})
        for name in known.keys() & asked.keys():
            index[asked[name]] = known[name]
    return index


def _once(keys: dict[int, str]) -> dict[str, int]:
    """key -> row, without the keys that come twice."""
    count = Counter(keys.values())
    return {key: row for row, key in keys.items() if count[key] == 1}


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _end(name: str, parts: int) -> str:
    return "/".join(PurePosixPath(_slashed(name)).parts[-parts:])


def _without_suffix(name: str) -> str:
    file = PurePosixPath(_slashed(name))
    return file.stem if is_image_name(file.name) else file.name


def _listing(folder: Path) -> dict[str, list[str]]:
    """Files of a folder by their plain names, and photos by their plain names without suffix."""
    results: dict[str, list[str]] = {}
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except (OSError, ValueError):  # as above
        return {}
    for name in names:
        for key in {_plain(name), _stem(name)} if is_image_name(name) else {_plain(name)}:
            results.setdefault(key, []).append(name)
    return results


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _stem(name: str) -> str:
    """The plain name without the suffix of a photo; another suffix is a part of it, as in ``photo.v2``."""
    plain = _plain(name)
    return plain[: plain.rindex(".")] if is_image_name(plain) else plain
