"""The images of a shard, one after another, from wherever they are."""

from __future__ import annotations

import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from apps.engine.scale.shards import FILES, TAR, Shard, image_column
from apps.engine.scale.stores import StoreError, is_url, opened, read
from datasets.file_kinds import is_image_name
from datasets.packed import IN

AHEAD = 16  # files of a store that are asked for at the same time
ROWS_AT_ONCE = 32
Content = Path | bytes


@dataclass(frozen=True)
class Item:
    """An image: its name, and its file or its bytes; or why it cannot be had."""

    name: str
    content: Content = b""
    error: str = ""


def images_of(shard: Shard) -> Iterator[Item]:
    """The images of a shard, always in the same order.

    Raises:
        StoreError: a store does not answer.
    """
    if shard.form == FILES:
        yield from _files(shard.places)
    elif shard.form == TAR:
        yield from _members(shard.places[0])
    else:
        yield from _rows(shard.places[0], shard.groups)


def _files(places: tuple[str, ...]) -> Iterator[Item]:
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: deque[Future[Item]] = deque()
        ahead = 0
        for at, place in enumerate(places):
            while ahead < min(at + AHEAD, len(places)):
                if is_url(places[ahead]):
                    waiting.append(pool.submit(_fetched, places[ahead]))
                ahead += 1
            yield waiting.popleft().result() if is_url(place) else Item(place, Path(place))


def _fetched(place: str) -> Item:
    try:
        return _item(place, read(place))
    except FileNotFoundError:
        return Item(place, error="file not found")
    except PermissionError:
        return Item(place, error="no permission to read this file")


def _item(name: str, data: bytes) -> Item:
    return Item(name, data) if data else Item(name, error="the file is empty")


def _members(place: str) -> Iterator[Item]:
    """The images in a tar file, of which bytes are read once, from the first to the last."""
    try:
        with opened(place) as file, tarfile.open(fileobj=file, mode="r|*") as shard:
            for member in shard:
                if member.isreg() and is_image_name(member.name):
                    content = shard.extractfile(member)
                    assert content is not None  # of a regular file
                    data = content.read()
                    if len(data) < member.size:
                        raise tarfile.ReadError("unexpected end of data")
                    yield _item(f"{place}{IN}{member.name}", data)
    except StoreError:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError) as err:
        if is_url(place) and isinstance(err, OSError) and not isinstance(err, FileNotFoundError):
            raise StoreError(f"{place} cannot be read to its end ({err})") from err
        yield Item(place, error=f"not a whole tar file: {' '.join(str(err).split()) or type(err).__name__}")


def _rows(place: str, groups: tuple[int, int]) -> Iterator[Item]:
    """The images in some groups of rows of a Parquet file, by the number of their row in the file."""
    from pyarrow import ArrowException, parquet

    try:
        column = image_column(place)
        if column is None:
            yield Item(place, error="a Parquet file without a column of images")
            return
        with opened(place) as source:
            file = parquet.ParquetFile(source)
            meta = file.metadata
            row = sum(meta.row_group(group).num_rows for group in range(groups[0]))
            batches = file.iter_batches(
                ROWS_AT_ONCE, row_groups=list(range(*groups)), columns=[column], use_threads=False
            )
            for batch in batches:
                values = batch.column(0)
                values = values.field("bytes") if column.endswith(".bytes") else values
                for value in values:
                    name = f"{place}{IN}{row}"
                    row += 1
                    data = value.as_py()
                    yield Item(name, data) if data else Item(name, error="no bytes in this row")
    except (ArrowException, ValueError) as err:
        text = " ".join(str(err).split())
        yield Item(place, error=f"cannot be read as Parquet: {text[:200]}")
