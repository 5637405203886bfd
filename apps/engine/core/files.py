"""Files that are whole or not there: written under a temporary name, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from backbone.schema import parse_json, short
from datasets.outside import full_disk_named, regular_file, whole_file

LOCK = ".lock"
_NEW: ContextVar[list[Path]] = ContextVar("new files of a set")
_made: list[Path] = []  # folders, the outer ones first


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in its place.

    Raises:
        OSError: the folder cannot be written or the disk is full; what was at ``path`` stays.
    """
    with writing(path) as temporary:
        write(temporary)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary file to fill, put at ``path`` where nothing is raised: as :func:`write_whole`."""
    with full_disk_named(path):
        temporary = _temporary(path)
    try:
        with full_disk_named(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            new = not path.exists()
            temporary.replace(path)
            if new:
                _NEW.get([]).append(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def whole_set() -> Iterator[None]:
    """Files that belong together: where something is raised, those that are new are taken away again.

    A file that took the place of another stays, whole.
    """
    token = _NEW.set([])
    try:
        yield
    except BaseException:
        for path in _NEW.get():
            path.unlink(missing_ok=True)
        raise
    finally:
        _NEW.reset(token)


def _temporary(path: Path) -> Path:
    """An empty file beside ``path``; what the system says is of ``path``, not of a name that is ours."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a pipe or a device, in whose place no file is put; give the name of a file")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as err:
        raise type(err)(err.errno, os.strerror(err.errno or 0), str(path)) from err
    os.close(handle)
    return Path(name)


def write_json(path: Path, values: Any) -> None:
    """One JSON document, indented, whole or not at all; what :func:`defined` leaves out is null.

    Names that are no UTF-8 read back as they were: JSON has a sign for each of their bytes.
    """
    text = json.dumps(defined(values), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def json_line(values: Any) -> str:
    """JSON in one line of ASCII, as a file name may be no UTF-8; what :func:`defined` leaves out is null."""
    return json.dumps(defined(values), allow_nan=False)


def defined(value: Any) -> Any:
    """A value of tables and lists with None for numbers that JSON does not have: not a number, infinite."""
    if isinstance(value, dict):
        return {key: defined(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [defined(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_object(path: Path) -> dict[str, Any]:
    """What a JSON file of ours holds: one object, without NaN or Infinity.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no regular file, or may not be read.
        ValueError: it holds something else; in one line.
    """
    values = parse_json(whole_file(path), path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no object but {short(values)}; restore it")
    return values


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, data: bytes | memoryview) -> Path:
    """A file of these bytes, whole or not at all; returns its path."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_whole(path, write)
    return path


def sha256_of(path: Path) -> str:
    """The sha256 of a regular file's bytes, in hex."""
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_folder(path: Path) -> Path:
    """Make a folder, which is taken away again where the command fails and nothing is in it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    _made.extend(reversed(missing))
    return path


def writable_folder(path: Path, flag: str = "--out") -> Path:
    """Make a folder and prove that a file can be written there.

    Raises:
        OSError: it cannot, with a line that says so.
    """
    try:
        made_folder(path)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as err:
        raise OSError(f"cannot write to {path} ({err.strerror}); give another folder with {flag}") from err


def writable_file(path: Path, flag: str = "--out") -> Path:
    """Prove, before long work, that a file of this name can be written; its folder is made.

    Raises:
        OSError: it cannot.
    """
    writable_folder(path.parent, flag)
    _temporary(path).unlink()
    return path


def forget_made_folders(*, remove: bool) -> None:
    """A command is at its end: where it failed, the empty ones of the folders that it made are removed."""
    while _made:
        folder = _made.pop()
        if remove:
            with suppress(OSError):  # it holds something, or is gone
                folder.rmdir()


@contextmanager
def folder_for(path: Path | None, flag: str) -> Iterator[None]:
    """A folder to write into, if one is asked for; taken away again where it was made for nothing.

    Raises:
        OSError: as :func:`writable_folder`.
    """
    made = path is not None and not path.exists()
    if path is not None:
        writable_folder(path, flag)
    try:
        yield
    finally:
        if made and path is not None:
            with suppress(OSError):  # it holds something
                path.rmdir()


@contextmanager
def numbered_folder(parent: Path, name: str) -> Iterator[Path]:
    """``parent/name``, or the first of ``name-2``, ... that is not there, made for this process alone.

    It is taken away again where nothing was written into it.

    Raises:
        OSError: it cannot be made.
    """
    folder, number = parent / name, 2
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            folder, number = parent / f"{name}-{number}", number + 1
        except OSError as err:
            raise OSError(f"cannot write to {folder} ({err.strerror}); give another with --out") from err
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something, or is gone
            folder.rmdir()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive(path: Path, error: str, *, seconds: float = 0) -> Iterator[None]:
    """Hold a lock file for this process; given up by the system where the process dies.

    Processes that are forked meanwhile, such as those that read images, do not hold it.

    Args:
        path: of the lock file.
        error: text of the error.
        seconds: to wait for another process that holds it, 0 or more.

    Raises:
        FileExistsError: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise FileExistsError(error) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    The lock's file is gone again at the end, as nothing else of what is refused stays.

    Raises:
        FileExistsError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    path = folder / LOCK
    with path.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                raise BlockingIOError("the process that held it has just removed it")
        except OSError as err:
            raise FileExistsError(
                f"another process is training into {folder}; wait for its end, or give another --out"
            ) from err
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_unused(folder: Path) -> None:
    """Take a folder away again that holds nothing but a lock."""
    if {entry.name for entry in folder.iterdir()} <= {LOCK}:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
