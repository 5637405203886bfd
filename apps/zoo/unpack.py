"""Archives into folders: nothing outside the folder, and all of it or nothing."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

MAX_UNPACKED_BYTES = 64 * 2**30

_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError,
    NotImplementedError,
)  # fmt: skip


class _Member(NamedTuple):
    """One entry of an archive; ``target`` is what a link points to."""

    path: PurePosixPath
    type: str
    size: int
    target: str = ""


def unpack(archive: Path, to: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> int:
    """Unpack a tar (plain or compressed) or a zip; all of it is checked before anything is written.

    Args:
        archive: the file.
        to: folder to unpack into, made if missing; what it holds already stays.
        max_bytes: unpacked bytes that are accepted at most.

    Returns:
        How many files were written.

    Raises:
        ValueError: no archive, damaged, too large, or with a member that would land outside ``to``.
        FileExistsError: ``to`` has an entry that the archive would replace.
        OSError: the disk is full or the folder cannot be written.
    """
    with _opened(archive) as content:
        members = _checked(archive, content, max_bytes)
        _check_place(archive, members, to)
        with one_line_errors(f"cannot unpack {archive} into {to}"):
            _unpack_beside_and_move(archive, content, to)
    return len({member.path for member in members if member.type in ("file", "hardlink")})


def _unpack_beside_and_move(archive: Path, content: tarfile.TarFile | zipfile.ZipFile, to: Path) -> None:
    unfinished, was_there = to / f".{archive.name}.unpacking", to.is_dir()
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    try:
        unfinished.mkdir(parents=True)
        if isinstance(content, tarfile.TarFile):
            content.extractall(unfinished, filter="data")
        else:
            content.extractall(unfinished)
        _move_in(unfinished, to)
    except BaseException:
        shutil.rmtree(unfinished if was_there else to, ignore_errors=True)
        raise
    unfinished.rmdir()


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile | zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) if zipfile.is_zipfile(archive) else tarfile.open(archive) as content:
            yield content
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{archive} is no tar or zip, or damaged ({reason}); delete it and fetch it again"
        ) from error


def _members(content: tarfile.TarFile | zipfile.ZipFile) -> Iterator[_Member]:
    """What an archive lists. Links in a zip are refused with the devices: no dataset needs them."""
    if isinstance(content, zipfile.ZipFile):
        for entry in content.infolist():
            mode = stat.S_IFMT(entry.external_attr >> 16)
            named = bool(entry.filename)  # zipfile fails at one without a name
            plain = named and mode in (0, stat.S_IFREG, stat.S_IFDIR) and not entry.flag_bits & 1
            type_ = "other" if not plain else "folder" if entry.is_dir() else "file"
            yield _Member(PurePosixPath(entry.filename), type_, entry.file_size)
        return
    for info in content:
        types = {"folder": info.isdir, "symlink": info.issym, "hardlink": info.islnk, "file": info.isreg}
        type_ = next((name for name, is_it in types.items() if is_it()), "other")
        yield _Member(PurePosixPath(info.name), type_, info.size, info.linkname)


def _checked(archive: Path, content: tarfile.TarFile | zipfile.ZipFile, max_bytes: int) -> list[_Member]:
    """The members, if none is dangerous; stops reading at the first that is.

    The standard filter alone looks at each member by itself, while unpacking, and strips a leading slash.
    """
    members: list[_Member] = []
    total = 0
    for member in _members(content):
        _refuse(archive, member, _fault(member))
        total += member.size
        if total > max_bytes:
            raise ValueError(f"{archive} is refused: it unpacks to more than {max_bytes} bytes")
        if member.path.parts:
            members.append(member)
    uses = Counter(member.path for member in members)
    links = {member.path for member in members if member.type == "symlink"}
    files = {member.path for member in members if member.type == "file"}
    for member in members:
        if not links.isdisjoint(member.path.parents):
            _refuse(archive, member, "lies behind a link")
        if member.type.endswith("link") and uses[member.path] > 1:
            _refuse(archive, member, "is a link and something else as well")
        if member.type == "hardlink" and PurePosixPath(member.target) not in files:
            _refuse(archive, member, f"links to {member.target!r}, which is no file of this archive")
    return members


def _refuse(archive: Path, member: _Member, fault: str) -> None:
    if fault:
        raise ValueError(f"{archive} is refused: {str(member.path)!r} {fault}; get it from another source")


def _fault(member: _Member) -> str:
    """What makes a member dangerous by itself; empty if nothing does."""
    if member.type == "other":
        return "is no plain file or folder, or encrypted"
    if _leads_out(member.path.as_posix()):
        return "would land outside the folder"
    if member.type == "symlink" and _points_out(member):
        return f"points to {member.target!r}, which may be outside the folder"
    return ""


def _leads_out(name: str) -> bool:
    """On any system: ``/etc``, ``../x``, ``C:\\x`` and ``..\\x``."""
    windows = PureWindowsPath(name)
    return name.startswith("/") or bool(windows.anchor) or ".." in windows.parts


def _points_out(link: _Member) -> bool:
    """Only leading ``..`` can be counted: after a name, that name may be a link itself."""
    parts = PureWindowsPath(link.target).parts
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return ups >= len(link.path.parts) or _leads_out("/".join(parts[ups:]) or ".")


def _check_place(archive: Path, members: list[_Member], to: Path) -> None:
    for top in sorted({member.path.parts[0] for member in members}):
        if os.path.lexists(to / top):
            raise FileExistsError(f"{to / top} is there already; remove it to unpack {archive} again")
    existing = next(folder for folder in (to, *to.absolute().parents) if folder.is_dir())
    free, needed = shutil.disk_usage(existing).free, sum(member.size for member in members)
    if needed > free:
        raise OSError(f"{archive} unpacks to {needed} bytes, {free} are free in {to}; make room")


def _move_in(unfinished: Path, to: Path) -> None:
    """All top entries, or none of them."""
    moved: list[Path] = []
    try:
        for entry in sorted(unfinished.iterdir()):
            moved.append(entry.rename(to / entry.name))
    except OSError:
        for entry in moved:
            entry.rename(unfinished / entry.name)
        raise


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Say ``what`` cannot be done, why and how to mend it, where the disk refuses; other errors pass."""
    try:
        yield
    except (ConnectionError, gzip.BadGzipFile):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(f"{what}: {reason}; make room there or choose another folder") from error
