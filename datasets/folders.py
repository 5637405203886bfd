"""Folders of photos as they are: what is in them, and what is left out, which is said."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datasets.file_kinds import OTHER_SUFFIXES, VIDEO_SUFFIXES, first_bytes, image_kind, is_image_name

# What disk stations, recycle bins, Macs and viewers put among photos, in small letters.
NOT_DATA = frozenset(
    {
        "@eadir",
        "@__thumb",
        "#recycle",
        "#snapshot",
        "__macosx",
        "$recycle.bin",
        "recycler",
        "lost+found",
        ".thumbnails",
        "system volume information",
        ".trash",
        ".trashes",
        ".spotlight-v100",
        ".fseventsd",
        ".picasaoriginals",
    }
)
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "picasa.ini", "icon\r"})
APPLE_DOUBLE = "._"
_log = logging.getLogger(__name__)
_logged: set[str] = set()  # notes are said once, though a folder is read for train and for val


@dataclass
class LeftOutFiles:
    """What a look through folders left out.

    Attributes:
        suffixes: files of other kinds, by suffix in small letters; empty for none.
        folders: files in folders that are not data, by the folders' names.
        unreadable: folders that may not be read, and why.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def notes(self, where: str) -> list[str]:
        """A sentence on each thing that a user should know.

        Args:
            where: what was looked through.
        """
        notes = [f"{path} cannot be read ({reason}): skipped" for path, reason in self.unreadable]
        if +self.folders:
            notes.append(f"{where}: left out {_counted(+self.folders, 'files that are not data', 'in ')}")
        if self.suffixes:
            notes.append(f"{where}: left out {_counted(self.suffixes, 'files of other kinds')}")
        return notes


def _counted(counts: Counter[str], what: str, preposition: str = "") -> str:
    """``14 files of other kinds: 12 .mov, 2 .txt``."""
    total = counts.total()
    parts = [f"{count} {preposition}{name or 'without suffix'}" for name, count in counts.most_common(8)]
    more = ", ..." if len(counts) > 8 else ""
    return f"{total} {what if total > 1 else what.replace('files', 'file').replace('are', 'is')}: " + (
        ", ".join(parts) + more
    )


def warn(notes: Iterable[str]) -> None:
    """Log what a user should know, each sentence once in a process."""
    for note in notes:
        if note not in _logged:
            _logged.add(note)
            _log.warning(note)


def find_images(
    paths: Iterable[Path | str], *, beside: Collection[str] = (), keep_missing: bool = False,
    videos: bool | None = None,
) -> Iterator[Path]:
    """The photos in some files and folders, in the order given, each folder in the order of names.

    A file that is named is always yielded. Inside folders, at any depth, these are files with a suffix of
    :data:`IMAGE_SUFFIXES`, and others that begin as photos do. Left out are what is hidden, folders of
    :data:`NOT_DATA`, and other files; what is left out is logged at the end, by suffix. A folder that may not
    be read is named and passed over. A link back to a folder above is not followed.

    Args:
        paths: files or folders.
        beside: suffixes of files that belong to the photos, such as labels, and are not counted.
        keep_missing: yield a path that does not exist, which its reader then names, unless none exists.
        videos: yield videos in folders, too, known by their suffixes; False says how to ask for that where
            some are left out, None says nothing of it.

    Raises:
        FileNotFoundError: one of the paths does not exist; raised before the first photo.
    """
    starts = [Path(path) for path in paths]
    missing = [start for start in starts if not start.exists()]
    if missing and not (keep_missing and len(missing) < len(starts)):
        raise FileNotFoundError(f"{missing[0]} does not exist; name a photo or a folder with photos")
    for start in starts:
        if start.is_dir():
            left_out = LeftOutFiles()
            yield from _photos_below(start, set(), left_out, videos=bool(videos))
            for suffix in beside:
                left_out.suffixes.pop(suffix, None)
            some = videos is False and not VIDEO_SUFFIXES.isdisjoint(left_out.suffixes)
            warn([*left_out.notes(str(start)), *(["--videos reads videos in folders, too"] * some)])
        else:
            yield start


def find_in_each(
    folders: Iterable[Path], where: Path, *, beside: Collection[str] = ()
) -> dict[Path, list[Path]]:
    """The photos of each folder, as :func:`find_images` yields them; what is left out is counted together.

    Args:
        folders: such as those of the classes.
        where: the folder around them, for the log.
        beside: see :func:`find_images`.
    """
    left_out = LeftOutFiles()
    results = {folder: list(_photos_below(folder, set(), left_out)) for folder in folders}
    for suffix in beside:
        left_out.suffixes.pop(suffix, None)
    warn(left_out.notes(str(where)))
    return results


def list_photos(
    paths: Iterable[Path | str], hint: str = "give photos or folders that hold some", *,
    videos: bool | None = None,
) -> list[Path]:
    """What :func:`find_images` yields, which must be something, with the paths that do not exist.

    Args:
        paths: files or folders.
        hint: how to mend it where there is no photo.
        videos: see :func:`find_images`.

    Raises:
        FileNotFoundError: none of the paths exists.
        ValueError: they hold no photo.
    """
    named = list(paths)
    photos = list(find_images(named, keep_missing=True, videos=videos))
    if not photos:
        raise ValueError(f"no photo in {', '.join(map(str, named))}; {hint}")
    return photos


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and those that are not data.

    Folders that may not be read are named in the log and left out.
    """
    results = [entry for entry in sorted(folder.iterdir()) if _is_folder(entry) and is_data(entry.name)]
    readable = []
    for entry in results:
        try:
            next(entry.iterdir(), None)
            readable.append(entry)
        except OSError as err:
            warn(LeftOutFiles(unreadable=[(entry, err.strerror or str(err))]).notes(str(entry)))
    return readable


def loose_images(folder: Path) -> list[Path]:
    """The photos that lie directly in a folder, by name."""
    if not folder.is_dir():
        return []
    return [entry for entry in sorted(folder.iterdir()) if not _is_folder(entry) and is_image(entry)]


def is_data(name: str) -> bool:
    """Whether a file or folder of this name can be data: it is not hidden, and no disk station made it."""
    return not name.startswith(".") and name.casefold() not in NOT_DATA


def is_image(path: Path) -> bool:
    """Whether a file that is not hidden is a photo, by its suffix; without a known one by its content."""
    if path.name.startswith("."):
        return False
    if is_image_name(path.name):
        return True
    return path.suffix.lower() not in OTHER_SUFFIXES and image_kind(first_bytes(path)) is not None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the folder around it may be listed, but not looked into
        return False


def _photos_below(
    folder: Path, seen: set[tuple[int, int]], left_out: LeftOutFiles, *, videos: bool = False
) -> Iterator[Path]:
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as err:
        left_out.unreadable.append((folder, err.strerror or str(err)))
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.casefold() in NOT_DATA and _is_folder(entry):
            left_out.folders[entry.name] += _count_files(entry)
        elif entry.name.startswith(APPLE_DOUBLE) and is_image_name(entry.name):
            left_out.folders["._ (AppleDouble)"] += 1
        elif not is_data(entry.name) or entry.name.casefold() in SYSTEM_FILES:
            continue
        elif _is_folder(entry):
            yield from _photos_below(entry, seen, left_out, videos=videos)
        elif is_image(entry) or (videos and entry.suffix.lower() in VIDEO_SUFFIXES):
            yield entry
        else:
            left_out.suffixes[entry.suffix.lower()] += 1


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
