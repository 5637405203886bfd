"""Files that others wrote: only regular ones are opened, what parsers raise is one line. Full disks, too."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 1 << 32  # of a text or a table that is read whole: ten times the largest of COCO's lists
_LONGEST_LINE, _LINE_END = 1500, 400  # letters of a message, and of its end, which says how to mend it
_ALWAYS, _TIMES = 1 << 30, 30
_NUMBER = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)  # of the system, in words of Rust and C++
FULL = (errno.ENOSPC, errno.EDQUOT)
_MEND = {
    errno.ENAMETOOLONG: "give a shorter name", errno.ENOENT: "check the name",
    errno.ELOOP: "give the file itself",
    errno.EACCES: "check who may read and write it", errno.EPERM: "check who may read and write it",
    errno.EISDIR: "give a file", errno.ENOTDIR: "a part of it is a file, not a folder",
    errno.EROFS: "write elsewhere",
}
_PASSED = (ValueError, OSError, IsADirectoryError, NotADirectoryError)  # as this project raises them itself


def regular_file(path: Path) -> Path:
    """The path of a file that may be opened: a FIFO would wait for ever, a device might never end.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is a folder, or no regular file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a pipe or a device, not a regular file; copy its content into a file")
    return path


def whole_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: of the file.
        most: bytes that it may have; none is read of a larger one.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no regular file, or may not be read.
        ValueError: it is larger.
    """
    if regular_file(path).stat().st_size > most:
        raise ValueError(f"{path} has more than {most:,} bytes, so it is not read; give a smaller file")
    return path.read_bytes()


def check_unpacked(path: Path, size: int) -> None:
    """Refuse a small file that would take all memory.

    Args:
        path: of the file.
        size: bytes that its content takes.

    Raises:
        ValueError: it is above 1 GiB and 30 times the file's size together.
    """
    most = _ALWAYS + _TIMES * path.stat().st_size
    if size > most:
        raise ValueError(
            f"{path} would unpack to {size:,} bytes or more, above the {most:,} that a file of its size may; "
            "give it in several files"
        )


@contextmanager
def one_line(path: object, mend: str, what: str = "cannot be read") -> Iterator[None]:
    """What a reader raises, as a line that names the file; a line that does so already passes.

    Args:
        path: of the file.
        mend: how to mend it.
        what: the file is, or is not.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except (ImportError, FileNotFoundError, PermissionError):
        raise
    except MemoryError as err:
        raise ValueError(f"{path} asks for more memory than there is; {mend}") from err
    except Exception as err:  # parsers of bytes that others wrote have no list of what they raise
        line = str(err)
        if type(err) in _PASSED and str(path) in line and "\n" not in line:
            raise
        raise ValueError(f"{path} {what} ({words_of(err)}); {mend}") from err


class DiskError(OSError):
    """The disk took no more of a file: what the system says, and which file, in one line."""

    def __str__(self) -> str:
        """The line."""
        why = "the disk is full" if self.errno in FULL else "the disk refuses it"
        return f"cannot write {self.filename}: {why} ({self.strerror}); make room, or write elsewhere"


@contextmanager
def full_disk_named(path: object) -> Iterator[None]:
    """What the disk refuses while a file is written, as a line that names it, whatever library writes.

    Args:
        path: of the file, or what it is called.

    Raises:
        DiskError: the disk is full, or failed in another way.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as err:
        number = _refused_by_disk(err, path)
        if number is None:
            raise
        raise DiskError(number, os.strerror(number), str(path)) from err


def _refused_by_disk(err: Exception, path: object) -> int | None:
    """The system's number of the error; None for other faults, such as a name that is none."""
    if isinstance(err, OSError) and err.errno:
        return err.errno if err.errno in FULL or err.filename is None else None
    if result := _NUMBER.search(str(err)):
        return int(result[1])
    if isinstance(path, Path) and path.parent.is_dir() and hasattr(os, "statvfs"):
        return None if os.statvfs(path.parent).f_bavail else errno.ENOSPC
    return None


def system_line(err: Exception) -> str | None:
    """What the system refuses, as a line that names the file and how to mend it; None for other errors."""
    if isinstance(err, ValueError) and str(err).startswith("embedded null"):
        return "the name of a file holds a null byte, which no file has; give another name"
    plain = isinstance(err, OSError) and not isinstance(err, DiskError) and err.strerror and err.filename
    if not plain or not isinstance(err, OSError):
        return None
    mend = _MEND.get(err.errno or 0)
    return f"{os.fsdecode(err.filename)}: {err.strerror}{f'; {mend}' if mend else ''}"


def shortened(text: str) -> str:
    """A text on one line; of a longer one than 1,500 letters the middle, some quoted value, is left out."""
    line = " ".join(text.split())
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE - _LINE_END]} ... {line[-_LINE_END:]}"


def words_of(err: BaseException) -> str:
    """An error's text on one line, of 200 letters at most."""
    if isinstance(err, KeyError) and err.args:
        return f"it lacks {err.args[0]!r}"
    if isinstance(err, RecursionError):
        return "it is nested too deep"
    text = str(err)
    if isinstance(err, OSError) and not isinstance(err, DiskError):
        text = err.strerror or text  # without the system's number
    text = " ".join(text.split())
    return (f"{text[:197]}..." if len(text) > 200 else text) or type(err).__name__
