"""Where weights and other files that are made once lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

MIRROR_VARIABLE = "MOBILENET_WEIGHTS"
CACHE_VARIABLE = "MOBILENET_APPS_CACHE"
SUFFIX = ".safetensors"


def cache_folder() -> Path:
    """Where this user's caches are kept: below ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("mobilenet-apps", appauthor=False)


def weights_cache() -> Path:
    """Where fetched weights are kept: below ``$MOBILENET_APPS_CACHE``, else below the user's caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen).expanduser() if chosen else cache_folder()) / "weights"


def in_mirror(file: str) -> Path | None:
    """A file of the folder that MOBILENET_WEIGHTS names; None if it is not there."""
    folder = os.environ.get(MIRROR_VARIABLE)
    path = Path(folder) / file if folder and file else None
    return path if path is not None and path.is_file() else None


def on_disk(file: str) -> Path | None:
    """A file of the folder that MOBILENET_WEIGHTS names, or else of the cache; None if neither holds it."""
    cached = weights_cache() / file
    return in_mirror(file) or (cached if cached.is_file() else None)
