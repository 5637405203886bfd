"""The folder of a cache: its version, its bound, who uses it, and what has to go.

``cache.json`` tells the format. ``used`` holds the bytes of all pixels as one number, changed under a
lock on that file. ``runs/`` has a file for each process that opened the cache, locked while it lives
and with one byte for each kind of trouble, so that a worker can tell the process that speaks.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from apps.engine.core.files import write_json

FORMAT = 1
MARK = "cache.json"
FAN_OUT = [f"{n:02x}" for n in range(256)]
ROOM_TO_MAKE = 0.1  # of the limit, so that not every photo has to make its own room
USED = struct.Struct("<Q")
FULL, BROKEN = 0, 1  # bytes of a run's file
TESTED_BYTES = 1 << 16
CLOCK_SECONDS = 1.0  # by which a file's dates may lie behind the clock of this process


class CacheRoom:
    """What every process that uses one cache folder keeps in common; see :class:`PhotoCache`.

    Args:
        root: the folder.
        limit: bound in bytes.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self.closed = False
        self.told: set[int] = set()
        _prepare(root)
        with self._locked():
            self.run, lock = _register(root / "runs")
            self.lock: BinaryIO | None = lock
            self._write_used(self._tidy(limit))

    def __getstate__(self) -> dict[str, Any]:
        """Without the lock: only the process that opened the cache holds it."""
        return self.__dict__ | {"lock": None}

    def place(self, name: str) -> Path:
        """Where pixels of this name belong."""
        return self.root / "pixels" / name[:2] / name

    def known(self, name: str) -> Path:
        """Where the link of this name belongs."""
        return self.root / "known" / name[:2] / name

    def add(self, place: Path, data: bytes) -> bool:
        """Put a whole file in its place, or nothing; False if there is no room for it."""
        if self.closed or not self._reserve(len(data)):
            return False
        try:
            there = place.exists()
            _write(place, data)
        except OSError as err:
            self._release(len(data))
            return self._give_up(err)
        if there:
            self._release(len(data))
        return True

    def link(self, link: Path, place: Path) -> None:
        """Let ``link`` lead to ``place``."""
        temporary = link.with_name(f".{link.name}.{secrets.token_hex(8)}")  # threads share a process id
        try:
            temporary.symlink_to(Path("..", "..", *place.parts[-3:]))
            temporary.replace(link)
        except OSError as err:
            self._give_up(err)

    def notes(self) -> list[str]:
        """New sentences on what went wrong in any process of this run."""
        flags = self.run.read_bytes() if self.run.exists() else b""
        new = [kind for kind, flag in enumerate(flags) if flag and kind not in self.told]
        self.told.update(new)
        size = f"{self.limit / 1e9:g} GB"
        return [{
            FULL: f"the cache {self.root} is full ({size}): the other photos are decoded in every epoch; "
                  f"give a larger --cache-gb",
            BROKEN: f"the cache {self.root} takes no more photos ({os.strerror(flags[kind])}): the others "
                    f"are decoded in every epoch; give another folder with --cache",
        }[kind] for kind in new]

    def _reserve(self, size: int) -> bool:
        with self._locked():
            used = self._read_used()
            if used + size > self.limit:
                used = self._tidy(max(int(self.limit * (1 - ROOM_TO_MAKE)) - size, 0))
            fits = used + size <= self.limit
            self._write_used(used + size if fits else used)
        if not fits:
            self._flag(FULL, 1)
            self.closed = True
        return fits

    def _release(self, size: int) -> None:
        with self._locked():
            self._write_used(max(self._read_used() - size, 0))

    def _give_up(self, err: OSError) -> bool:
        self._flag(BROKEN, err.errno or errno.EIO)
        self.closed = True
        return False

    def _flag(self, kind: int, value: int) -> None:
        """Overwrite a byte that is there already: that needs no room on a full disk."""
        with self.run.open("r+b") as file:
            file.seek(kind)
            file.write(bytes([value]))

    def _tidy(self, goal: int) -> int:
        """Remove the photos not used for longest until ``goal`` bytes are left; returns what is left.

        Those that a living process has used stay: they are as new as that process, or newer.
        """
        oldest_run = min(map(_started, _living(self.root / "runs")), default=time.time()) - CLOCK_SECONDS
        entries = sorted(_entries(self.root / "pixels"))
        left = sum(size for _, size, _ in entries)
        removed = False
        for used_at, size, path in entries:
            if left <= goal or used_at >= oldest_run:
                break
            Path(path).unlink(missing_ok=True)
            left, removed = left - size, True
        if removed:
            for folder in FAN_OUT:
                for link in (self.root / "known" / folder).iterdir():
                    if not link.exists():
                        link.unlink(missing_ok=True)
        return left

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl

        handle = os.open(self.root / "used", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read_used(self) -> int:
        data = (self.root / "used").read_bytes()
        return int(USED.unpack(data)[0]) if len(data) == USED.size else 0

    def _write_used(self, used: int) -> None:
        with (self.root / "used").open("r+b") as file:
            file.write(USED.pack(used))


def _prepare(root: Path) -> None:
    """Make the folder, prove that it can be filled, and see that it is a cache of this version."""
    if os.name != "posix":
        raise OSError("--cache needs the file locks of a POSIX system; leave it out here")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(bytes(TESTED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _check_version(root)
        for kind in ("pixels", "known"):
            for name in FAN_OUT:
                (root / kind / name).mkdir(parents=True, exist_ok=True)
        (root / "runs").mkdir(exist_ok=True)
    except OSError as err:
        raise OSError(
            f"cannot write to {root} ({err.strerror}); give another folder with --cache"
        ) from err


def _check_version(root: Path) -> None:
    mark = root / MARK
    if not mark.exists():
        others = [path.name for path in root.iterdir() if not path.name.startswith(".")]
        if others and not mark.exists():
            raise ValueError(
                f"{root} holds other files ({sorted(others)[0]}, ...) and no cache; "
                f"give an empty or a new folder with --cache"
            )
        write_json(mark, {"format": FORMAT})
    try:
        found = json.loads(mark.read_text("utf-8"))["format"]
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{mark} is damaged; delete {root}, or give another folder with --cache") from err
    if found != FORMAT:
        raise ValueError(
            f"{root} is a cache of format {found}, this program writes {FORMAT}; "
            f"delete it, or give another folder with --cache"
        )


def _register(folder: Path) -> tuple[Path, BinaryIO]:
    """A locked file for this process, with the time in its name; the lock goes when the process does."""
    import fcntl

    handle, name = tempfile.mkstemp(dir=folder, prefix=f"{time.time():.3f}-")
    file = os.fdopen(handle, "wb", buffering=0)
    file.write(bytes(2))
    fcntl.flock(handle, fcntl.LOCK_EX)
    return Path(name), file


def _started(path: Path) -> float:
    return float(path.name.partition("-")[0])


def _living(folder: Path) -> list[Path]:
    """The files of processes that live; those of dead ones are removed."""
    import fcntl

    living = []
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            living.append(path)
        finally:
            os.close(handle)
    return living


def _entries(folder: Path) -> Iterator[tuple[float, int, str]]:
    """(time of last use, bytes, path) of each photo, and of each file that a crash left half-written."""
    for name in FAN_OUT:
        with os.scandir(folder / name) as found:
            for entry in found:
                with suppress(FileNotFoundError):  # renamed by a process that writes at this moment
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, entry.path


def _write(place: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=".")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
