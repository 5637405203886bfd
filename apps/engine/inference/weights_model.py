"""Weights that bring a head along, as an exported file that is made once and kept in the user's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from apps.engine.core.files import sha256_of
from apps.engine.inference.made_once import cached
from backbone.storage import SUFFIX, on_disk

FORMAT = 1  # raised when the same weights are to be written otherwise


def weights_file(spec: str) -> Path | None:
    """Where weights are on this machine: a path, or a name with or without suffix; None if nowhere."""
    path = Path(spec)
    if path.is_file():
        return path
    return on_disk(f"{spec.removesuffix(SUFFIX)}{SUFFIX}") if path.name == spec else None


def weights_model(spec: str, app: str | None) -> Path | None:
    """The exported file of weights; None where they are no file on this machine.

    Args:
        spec: a path or a registered name.
        app: what they are to answer; None for what their classes say.

    Raises:
        OSError: the cache cannot be written.
        ValueError: the weights are damaged, bring no head for ``app``, or cannot be exported.
    """
    path = weights_file(spec)
    if path is None:
        return None

    def make() -> bytes:
        from apps.engine.inference.graph.run_model import checked_model

        return checked_model(spec, app)

    # a file that does not say how its network sees is known by its name
    key = hashlib.sha256(f"{sha256_of(path)} {path.name} {app}".encode()).hexdigest()[:32]
    return cached(f"weights-{FORMAT}-{key}.onnx", make)
