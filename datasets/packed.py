"""Photos in other files: members of tar shards and rows of Parquet files, by a path of their own.

``shard.tar::folder/photo.jpg`` is a member of a tar file, ``photos.parquet::17`` a row of a Parquet file.
Such a path is read wherever a photo's is; nothing is unpacked. A process keeps where the members of each
shard lie, and a few groups of rows of Parquet files.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets.outside import one_line, regular_file

IN = "::"
TAR, PARQUET = ".tar", ".parquet"
KEPT_BYTES = 1 << 28  # of rows of Parquet files, in each process
LARGEST_GROUP = 1 << 31  # bytes of the photos in one group of rows, which are read together
COUNTED_BYTES = 1 << 30  # of a Parquet file, up to which the sizes of its photos are looked for
NOT_A_TAR = "is not a whole tar file"


@dataclass(frozen=True)
class Member:
    """Where a file lies in a tar file.

    Args:
        name: of the file.
        start: of its bytes.
        size: how many.
    """

    name: str
    start: int
    size: int


def packed_path(container: Path, name: object) -> Path:
    """The path of a member of a tar file, or of a row of a Parquet file."""
    return Path(f"{container}{IN}{name}")


def container_of(path: Path) -> tuple[Path, str] | None:
    """The file that a photo lies in, and its name there; None where it is a file of its own."""
    text = os.fspath(path)
    at = text.find(IN)
    while at >= 0:
        if text[:at].lower().endswith((TAR, PARQUET)) and not path.exists():
            return Path(text[:at]), text[at + len(IN):]
        at = text.find(IN, at + 1)
    return None


def tar_members(path: Path) -> Iterator[Member]:
    """The regular files in a tar file that is not compressed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no tar file, or cut off.
    """
    length = regular_file(path).stat().st_size
    with one_line(path, "make it again", NOT_A_TAR), tarfile.open(path, "r:") as shard:
        for member in shard:
            if not 0 <= member.size <= length - member.offset_data:
                raise ValueError(f"{member.name} says that it has {member.size:,} bytes, the file {length:,}")
            if member.isreg():
                yield Member(member.name, member.offset_data, member.size)


def members_of(path: Path) -> dict[str, Member]:
    """The members of a tar file by their names; of two with one name the first.

    Raises:
        FileNotFoundError, ValueError: as of :func:`tar_members`.
    """
    status = path.stat()
    return _index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _index(path: Path, size: int, changed: int) -> dict[str, Member]:
    del size, changed  # another file has another index
    results: dict[str, Member] = {}
    for member in tar_members(path):
        results.setdefault(member.name, member)
    return results


def member_bytes(path: Path, member: Member) -> bytes:
    """The bytes of a member of a tar file.

    Raises:
        OSError: the file cannot be read.
    """
    with regular_file(path).open("rb", buffering=0) as shard:
        shard.seek(member.start)
        return shard.read(member.size)


def packed_bytes(path: Path) -> bytes | None:
    """The bytes of a photo that lies in another file; None where it does not.

    Raises:
        OSError, ValueError: the other file cannot be read, or does not hold it.
    """
    place = container_of(path)
    if place is None:
        return None
    container, name = place
    if container.suffix.lower() == PARQUET:
        return _row_bytes(container, name)
    member = members_of(container).get(name)
    if member is None:
        raise FileNotFoundError(f"{container} holds no {name}")
    return member_bytes(container, member)


def packed_identity(path: Path) -> tuple[os.stat_result, str]:
    """The status of the file that holds a photo, and the photo's name in it, empty where it is the file.

    Raises:
        OSError: there is no such file.
    """
    place = container_of(path)
    return (path.stat(), "") if place is None else (place[0].stat(), place[1])


def size_of(path: Path) -> int:
    """Bytes of a photo; 0 where that is not known, as of rows of large Parquet files."""
    try:
        place = container_of(path)
        if place is None:
            return path.stat().st_size
        container, name = place
        if container.suffix.lower() != PARQUET:
            return members_of(container)[name].size
        return 0 if container.stat().st_size > COUNTED_BYTES else len(packed_bytes(path) or b"")
    except (OSError, ValueError, KeyError):
        return 0


def beginning(path: Path, size: int) -> bytes:
    """The first bytes of a photo; nothing of what cannot be read, or would keep its reader waiting."""
    try:
        data = packed_bytes(path)
        if data is not None:
            return data[:size]
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError):
        return b""


def image_column(schema: Any) -> str | None:
    """The column of a Parquet file that holds images: bytes, or bytes with a path; None where there is none.

    Args:
        schema: Arrow's.
    """
    import pyarrow as pa

    def holds(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            parts = [kind.field(n) for n in range(kind.num_fields)]
            return any(part.name == "bytes" and is_bytes(part.type) for part in parts)
        return is_bytes(kind)

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    names = [field.name for field in schema if holds(field.type)]
    usual = [name for name in ("image", "img", "jpg", "photo", "bytes", "content") if name in names]
    return next(iter([*usual, *names]), None)


class _Groups:
    """Images of Parquet files, a group of rows at a time, as many as there is room for."""

    def __init__(self) -> None:
        self.files: dict[tuple[Path, int, int], tuple[Any, str, list[int]]] = {}
        self.kept: OrderedDict[tuple[Path, int, int, int], Any] = OrderedDict()
        self.owner = os.getpid()

    def row(self, path: Path, row: int) -> bytes:
        if self.owner != os.getpid():  # open files are not shared with a process that forked
            self.files, self.owner = {}, os.getpid()
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self.files:
            self.files[key] = _opened(path)
        file, column, starts = self.files[key]
        if not 0 <= row < starts[-1]:
            raise FileNotFoundError(f"{path} has {starts[-1]} rows, and no row {row}")
        group = next(n for n in range(len(starts) - 1) if row < starts[n + 1])
        values = self._group((*key, group), file, column)
        value = values[row - starts[group]].as_py()
        if value is None:
            raise ValueError(f"row {row} of {path.name} holds no bytes, only the path of a file elsewhere")
        return bytes(value)

    def _group(self, key: tuple[Path, int, int, int], file: Any, column: str) -> Any:
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        size = file.metadata.row_group(key[-1]).total_byte_size
        if size > LARGEST_GROUP:
            raise ValueError(
                f"{key[0]} holds {size:,} bytes in one group of rows; write it again with row_group_size=1000"
            )
        with one_line(key[0], "write it again", "cannot be read as Parquet"):
            values = file.read_row_group(key[-1], columns=[column], use_threads=False).column(0)
            values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
            self.kept[key] = values.field("bytes") if column.endswith(".bytes") else values
        while len(self.kept) > 1 and sum(item.nbytes for item in self.kept.values()) > KEPT_BYTES:
            self.kept.popitem(last=False)
        return self.kept[key]


def _opened(path: Path) -> tuple[Any, str, list[int]]:
    """The file, its column of bytes, and the first row of each group, last the number of all."""
    import pyarrow as pa

    from datasets.parquet import open_parquet

    file = open_parquet(path, (), memory_map=True)
    column = image_column(file.schema_arrow)
    if column is None:
        raise ValueError(f"{path} has no column of images")
    if pa.types.is_struct(file.schema_arrow.field(column).type):
        column = f"{column}.bytes"
    starts = [0]
    for group in range(file.metadata.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return file, column, starts


_groups = _Groups()


def _row_bytes(path: Path, name: str) -> bytes:
    if not name.isdecimal() or not name.isascii() or len(name) > 15:
        raise FileNotFoundError(f"{path} has no row {name}")
    return _groups.row(path, int(name))

