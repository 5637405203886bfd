"""Files here and elsewhere: paths, s3://, gs://, http:// and what fsspec knows, read and written alike."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from apps.engine.core.files import writable_folder, write_bytes
from datasets.outside import FULL, DiskError, regular_file, whole_file

ATTEMPTS = 6  # at a request that fails for the store's sake
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
CONNECT_S, REQUEST_S = 10.0, 60.0
BLOCK = 1 << 20  # bytes fetched at once
IN_MEMORY = 64 << 20  # bytes of a file from HTTP before it goes to the disk
ENDPOINT = "AWS_ENDPOINT_URL"  # a store that speaks S3 and is not Amazon's
REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
T = TypeVar("T")


class StoreError(OSError):
    """A store does not answer as it should; what it holds may be sound."""


@dataclass(frozen=True)
class Entry:
    """A file: its path or address, its bytes, and when it changed; 0 where that is not known."""

    place: str
    size: int
    changed: int


def is_url(place: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/photos``, and no path."""
    return _URL.match(place) is not None


def files_of(place: str) -> list[Entry]:
    """A file, or all files below a folder in the order of their names; an HTTP address is one file.

    Raises:
        FileNotFoundError: there is no such place.
        PermissionError: it may not be read.
        StoreError: the store does not answer.
    """
    if _is_http(place):
        return [Entry(place, 0, 0)]
    return _patient(place, lambda: _listed(place))


def _listed(place: str) -> list[Entry]:
    from pyarrow import fs

    system, path, prefix = _filesystem(place)
    info = system.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{place} does not exist")
    whole = fs.FileSelector(path, recursive=True)
    infos = [info] if info.is_file else system.get_file_info(whole)
    entries = [_entry(item, prefix) for item in infos if item.is_file]
    return sorted(entries, key=lambda entry: entry.place)


def _entry(info: Any, prefix: str) -> Entry:
    return Entry(prefix + info.path, info.size or 0, info.mtime_ns or 0)


def read(place: str) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError, PermissionError: it is not there, or may not be read.
        StoreError: the store does not answer, also after some attempts.
    """
    if not is_url(place):
        return whole_file(Path(place))

    def once() -> bytes:
        if _is_http(place):
            with _response(place) as response:
                return bytes(response.content)
        system, path, _ = _filesystem(place)
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())

    return _patient(place, once)


@contextmanager
def opened(place: str) -> Iterator[Any]:
    """A file, open for reading at any place of it; one from HTTP is fetched whole.

    Raises:
        FileNotFoundError, PermissionError, StoreError: as of :func:`read`.
    """
    if not is_url(place):
        with regular_file(Path(place)).open("rb") as file:
            yield file
        return
    if _is_http(place):
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as copy:
            _patient(place, lambda: _fetched(place, copy))
            yield copy
        return
    system, path, _ = _filesystem(place)
    with _patient(place, lambda: system.open_input_file(path)) as file:
        yield file


def fetch(place: str, to: Path, size: int = 0) -> None:
    """Copy a file onto this disk, whole or not at all.

    Args:
        place: of the file.
        to: where; of two processes only one may fetch to the same place.
        size: bytes that it has; 0 where that is not known.

    Raises:
        FileNotFoundError, PermissionError, StoreError: as of :func:`read`.
        DiskError: the disk is full.
    """
    temporary = to.with_name(f".{to.name}.part")
    try:
        with temporary.open("wb") as copy:
            _patient(place, lambda: _fetched(place, copy, size))
            copy.flush()
            os.fsync(copy.fileno())
        temporary.replace(to)
    except OSError as err:
        if err.errno in FULL:
            raise DiskError(err.errno, os.strerror(err.errno), str(to)) from err
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _fetched(place: str, copy: Any, size: int = 0) -> None:
    copy.seek(0)
    copy.truncate()
    if _is_http(place):
        with _response(place) as response:
            for block in response.iter_content(BLOCK):
                copy.write(block)
    else:
        system, path, _ = _filesystem(place)
        with system.open_input_stream(path) as stream:
            while block := stream.read(BLOCK):
                copy.write(block)
    if size and copy.tell() != size:
        raise OSError(f"{copy.tell():,} of {size:,} bytes came")
    copy.seek(0)


def write(place: str, data: bytes) -> None:
    """A file of these bytes, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    if not is_url(place):
        write_bytes(Path(place), data)
        return
    system, path, _ = _filesystem(place)

    def once() -> None:
        with system.open_output_stream(path) as stream:  # a store shows an object when it is closed
            stream.write(data)

    _patient(place, once)


def make_folder(place: str) -> None:
    """Make a folder; stores have none, and need none.

    Raises:
        OSError: it cannot be made.
    """
    if _is_http(place):
        raise OSError(f"{place} cannot be written to; give a folder, or an address such as s3://BUCKET/NAME")
    if not is_url(place):
        writable_folder(Path(place))


def remove(place: str) -> None:
    """Remove a file."""
    if not is_url(place):
        Path(place).unlink(missing_ok=True)
        return
    system, path, _ = _filesystem(place)
    system.delete_file(path)


def joined(folder: str, name: str) -> str:
    """The place of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder) / name)


def _is_http(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _filesystem(place: str) -> tuple[Any, str, str]:
    """Arrow's file system of a place, the path there, and what makes an address of such a path again."""
    if not is_url(place):
        from pyarrow import fs

        return fs.LocalFileSystem(), os.fspath(place), ""
    scheme, _, rest = place.partition("://")
    endpoint = os.environ.get(ENDPOINT, "") if scheme == "s3" else ""
    return _system(scheme, rest.split("/")[0], endpoint, os.getpid()), rest, f"{scheme}://"


@lru_cache(maxsize=64)
def _system(scheme: str, host: str, endpoint: str, process: int) -> Any:
    del process  # connections are not shared with a process that forked
    from pyarrow import fs

    if scheme == "s3":
        where = {"endpoint_override": endpoint} if endpoint else {"region": fs.resolve_s3_region(host)}
        return fs.S3FileSystem(
            connect_timeout=CONNECT_S, request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3), **where,
        )
    if scheme in ("gs", "gcs"):
        from datetime import timedelta

        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=REQUEST_S))
    import fsspec

    try:
        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as err:
        text = f"{scheme}://{host} cannot be read ({err}); give s3://, gs:// or http(s)://"
        raise ValueError(text) from err


def _response(place: str) -> Any:
    """An answer of HTTP with status 200, whose body is not read yet."""
    import requests

    response = requests.get(place, stream=True, timeout=(CONNECT_S, REQUEST_S))
    if response.status_code in (404, 410):
        response.close()
        raise FileNotFoundError(f"{place} does not exist")
    if response.status_code in (401, 403):
        response.close()
        raise PermissionError(f"{place} may not be read")
    if response.status_code != 200:
        response.close()
        raise OSError(f"status {response.status_code}")
    return response


def _patient(place: str, action: Callable[[], T]) -> T:
    """What an action gives, tried again while the store fails.

    Raises:
        FileNotFoundError, PermissionError: the store says so.
        StoreError: it still fails after :data:`ATTEMPTS`.
    """
    pause = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as err:
            if err.errno in FULL:  # of this disk, which no patience mends
                raise
            text = " ".join(str(err).split())
            if any(word in text for word in REFUSED):
                raise PermissionError(f"{place} may not be had, or is not there ({text[:160]})") from err
            if not is_url(place):
                raise
            if attempt == ATTEMPTS:
                raise StoreError(f"{place} cannot be had after {attempt} attempts ({text[:160]})") from err
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
    raise AssertionError("unreachable")

