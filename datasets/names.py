"""The photos that annotations name, however the name was written down, and the sizes that they tell."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from datasets.file_kinds import is_image_name


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
