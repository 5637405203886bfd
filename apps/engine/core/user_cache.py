"""Files that are made once on a machine and kept in the user's cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from apps.engine.core.files import exclusive, write_bytes
from backbone.storage import cache_folder

WAIT_SECONDS = 300.0  # for another process that writes the same file


def cached(name: str, make: Callable[[], bytes]) -> Path:
    """A file of the user's cache; made where it is not there yet, by one process alone.

    Args:
        name: of the file; says all that the content depends on.
        make: gives the content.

    Raises:
        OSError: the cache cannot be written, or another process has been making the file for long.
    """
    path = cache_folder() / "models" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    busy = f"another process has been writing {path} for long; wait for it, or stop it"
    with exclusive(path.with_name(f".{name}.lock"), busy, seconds=WAIT_SECONDS):
        return path if path.is_file() else write_bytes(path, make())
