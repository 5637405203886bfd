"""Files of the user's cache that are made once, by one process alone."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from apps.engine.core.files import exclusive, sha256_of, whole_set, writable_folder, write_bytes, write_text
from backbone.storage import CACHE_VARIABLE, weights_cache

WAIT_SECONDS = 300.0  # for another process that makes the same file
_log = logging.getLogger(__name__)


def cached(name: str, make: Callable[[], bytes]) -> Path:
    """A file of the user's cache; made where it is not there yet, by one process alone.

    Args:
        name: of the file; says all that the content depends on.
        make: gives the content.

    Raises:
        OSError: the cache cannot be written, or another process has been making the file for long.
    """
    path = weights_cache().with_name("models") / name
    if _is_whole(path):
        return path
    writable_folder(path.parent, f"the variable {CACHE_VARIABLE}")
    busy = f"another process has been writing {path} for long; wait for it, or stop it"
    with exclusive(path.with_name(f".{name}.lock"), busy, seconds=WAIT_SECONDS):
        if not _is_whole(path):
            content = make()
            with whole_set():
                write_bytes(path, content)
                write_text(_sum_of(path), hashlib.sha256(content).hexdigest())
        return path


def say_once(weights: object) -> None:
    """Tell why a first answer takes long; after the checks of what :func:`cached` makes."""
    _log.warning("%s: a file to answer from is made, once: this takes a while", weights)


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_whole(path: Path) -> bool:
    """Whether a file of the cache is there, with the content that was written."""
    try:
        return _sum_of(path).read_text(encoding="utf-8") == sha256_of(path)
    except OSError:
        return False
