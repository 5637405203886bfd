"""Training data of a store or a web server, fetched once into a bounded folder of this machine.

A training reads any image at any time, again and again, to the same bits after an interruption: so its
shards are copied whole, and read here as local ones are. What has not changed there is not fetched again.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from apps.engine.core.console import Console, quantity
from apps.engine.core.files import exclusive, read_object, write_json
from apps.engine.scale.stores import Entry, fetch, files_of, is_url
from datasets.described.layouts import expand_braces
from datasets.described.shards import CLASS_LISTS
from datasets.packed import PARQUET, TAR
from datasets.synthetic.drawn_dogs import default_cache

CACHE, LIMIT = "MOBILENET_APPS_CACHE", "MOBILENET_APPS_DATA_GB"
AT_ONCE = 8  # files fetched at the same time
WAIT_S = 24 * 3600.0  # for another process that fetches the same
KEPT_FREE = 1 << 30  # bytes of the disk
PATTERN = re.compile(r"[{*?\[]")


def data_cache() -> Path:
    """Where copies lie: ``data`` in ``$MOBILENET_APPS_CACHE``, else in this user's caches."""
    return default_cache() / "data"


def with_local_data(given: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """The settings that a user gave, with the local copy of ``data`` where that is an address.

    Raises:
        OSError, ValueError: as of :func:`local_data`.
    """
    data = given.get("data")
    is_address = isinstance(data, str) and is_url(data)
    return dict(given) | ({"data": local_data(str(data), console)} if is_address else {})


def local_data(address: str, console: Console) -> Path:
    """The local copy of what an address means, as it is in the store now.

    Args:
        address: a folder or a file of a store, a file of a web server, or a pattern of files, such as
            ``s3://bucket/shards/{000..009}.tar``; with wildcards in stores alone.
        console: says what is fetched.

    Returns:
        The path to give as ``--data``.

    Raises:
        FileNotFoundError, PermissionError, StoreError: nothing is there, or it cannot be had.
        OSError: the copy is larger than the disk, or than ``$MOBILENET_APPS_DATA_GB``.
        ValueError: the address holds a password or a query, or is a folder of a web server.
    """
    address = _plain(address)
    with _copies(address) as copies:
        entries = _meant(address)
        missing = [entry for entry in entries if not copies.holds(entry)]
        copies.forget(address, entries)
        _check_room(address, missing)
        copies.complete = [name for name in copies.complete if name != address]
        if missing:
            size = sum(entry.size for entry in missing)
            words = f", {size / 1e9:.2f} GB" if size else ""
            console.say(f"{address}: fetching {quantity(len(missing), 'file')}{words} into {copies.folder}")
            copies.add(missing, console)
        copies.complete = sorted([*copies.complete, address])
    return local_path(address)


def present(data: Path, console: Console) -> Path:
    """A path of data, fetched again where it is that of a copy which is gone, or was never whole.

    Raises:
        OSError, ValueError: as of :func:`local_data`.
    """
    address = _address(data)
    if address is not None and address not in _Copies.read(address).complete:
        local_data(address, console)
    return data


def local_path(address: str) -> Path:
    """Where the copy of an address lies."""
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    return data_cache() / scheme / quote(host, safe="") / path


def _address(path: Path) -> str | None:
    """The inverse of :func:`local_path`; None for a path that is no copy."""
    root = data_cache()
    if not path.is_relative_to(root) or len(path.relative_to(root).parts) < 2:
        return None
    scheme, host, *parts = path.relative_to(root).parts
    return "/".join([f"{scheme}://{unquote(host)}", *parts])


@dataclass
class _Copies:
    """What is here of a store or a host.

    Args:
        folder: with the files.
        files: address -> size and time of change in the store when it was fetched.
        complete: addresses of which all is here.
    """

    folder: Path
    files: dict[str, list[int]] = field(default_factory=dict)
    complete: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, address: str) -> _Copies:
        """As kept beside the folder."""
        folder = local_path("/".join(address.split("/")[:3]))
        kept = _table(folder)
        values = read_object(kept) if folder.is_dir() and kept.is_file() else {}
        return cls(folder, dict(values.get("files", {})), list(values.get("complete", [])))

    def keep(self) -> None:
        """Write it beside the folder."""
        write_json(_table(self.folder), {"files": self.files, "complete": self.complete})

    def holds(self, entry: Entry) -> bool:
        """Whether a file is here as it is in the store."""
        same = self.files.get(entry.place) == [entry.size, entry.changed]
        return same and local_path(entry.place).is_file()

    def forget(self, address: str, entries: Sequence[Entry]) -> None:
        """Remove what was fetched before and is gone from the store."""
        there = {entry.place for entry in entries}
        for place in [name for name in self.files if name.startswith(f"{address}/") and name not in there]:
            local_path(place).unlink(missing_ok=True)
            del self.files[place]

    def add(self, entries: Sequence[Entry], console: Console) -> None:
        """Fetch files, several at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool, console.track("fetching", len(entries)) as update:
            try:
                for number, entry in enumerate(pool.map(_fetched, entries), start=1):
                    self.files[entry.place] = [entry.size, entry.changed]
                    update(number, f"{number} of {len(entries)}")
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _table(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _fetched(entry: Entry) -> Entry:
    to = local_path(entry.place)
    to.parent.mkdir(parents=True, exist_ok=True)
    fetch(entry.place, to, entry.size)
    return entry


@contextmanager
def _copies(address: str) -> Iterator[_Copies]:
    """What is here of a store, for one process at a time; kept, also where fetching ends early."""
    folder = local_path("/".join(address.split("/")[:3]))
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with exclusive(lock, f"another process has been fetching into {folder} for a day", seconds=WAIT_S):
        copies = _Copies.read(address)
        try:
            yield copies
        finally:
            copies.keep()


def _plain(address: str) -> str:
    """An address without a slash at its end.

    Raises:
        ValueError: it holds a password or a query, which the run would keep.
    """
    parts = urlsplit(address)
    if "@" in parts.netloc or (_is_web(address) and "?" in address):
        raise ValueError(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}: an address of training data is kept in the "
            "run, so it may have no password and no query; give those of a store by its environment variables"
        )
    return address.rstrip("/")


def _meant(address: str) -> list[Entry]:
    """The files that an address means."""
    match = PATTERN.search(address)
    if match is None:
        if _is_web(address) and not address.lower().endswith((TAR, PARQUET)):
            raise ValueError(
                f"{address} is no {TAR} or {PARQUET} file, and a web server lists no folders; give a "
                "file, or a pattern such as {000..009}.tar"
            )
        return _sound(files_of(address))
    names = expand_braces(address)
    if _is_web(address):
        return _sound([Entry(name, 0, 0) for name in names])
    base = address[: match.start()].rpartition("/")[0]
    files = files_of(base)
    results = [entry for name in names for entry in files if fnmatch.fnmatchcase(entry.place, name)]
    lost = [name for name in names if not glob.has_magic(name) and name not in {e.place for e in results}]
    if lost or not results:
        raise FileNotFoundError(f"{address}: {lost[0] if lost else 'what it means'} is not there; check it")
    beside = [entry for entry in files if entry.place in {f"{base}/{name}" for name in CLASS_LISTS}]
    return _sound([*results, *beside])


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _sound(entries: Sequence[Entry]) -> list[Entry]:
    """Files whose names are paths below a folder here, each once.

    Raises:
        ValueError: one is not.
    """
    for entry in entries:
        if {"", ".", ".."} & set(entry.place.split("/")[3:]):
            raise ValueError(f"{entry.place} has a name that is no path here; rename it")
    return list({entry.place: entry for entry in entries}.values())


def _check_room(address: str, missing: Sequence[Entry]) -> None:
    """Refuse what the disk does not hold, before any of it is fetched.

    Raises:
        OSError: see above.
    """
    root, size = data_cache(), sum(entry.size for entry in missing)
    room = shutil.disk_usage(root).free - KEPT_FREE
    why = f"{root} has {room / 1e9:.1f} GB free for it"
    if os.environ.get(LIMIT):
        kept = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        allowed = int(_limit_gb() * 1e9) - kept
        if allowed < room:
            room, why = allowed, f"{root} holds {kept / 1e9:.1f} of the {_limit_gb():g} GB of {LIMIT}"
    if size > room:
        raise OSError(
            f"{address} has {size / 1e9:.1f} GB to fetch, and {why}; remove copies there, or set {CACHE} to "
            "a folder with more room"
        )


def _limit_gb() -> float:
    text = os.environ[LIMIT]
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise ValueError(f"{LIMIT}={text} is no number of 10^9 bytes; set it to one such as 200")
    return float(text)
