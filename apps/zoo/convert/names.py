"""Which registered weights a file is of, and what its classes are called."""

from __future__ import annotations

import json
from pathlib import Path

from apps.engine.core.files import sha256_of
from apps.zoo.convert.source import Source
from backbone.pretrained import REGISTRY, Registered
from datasets.validation import read_text

CLASSES_1000 = "ImageNet-1k, wnid order"


def known_weights(path: Path) -> Registered | None:
    """The registered weights that a file is of, by its sum."""
    digest = sha256_of(path)
    for item in REGISTRY.values():
        files = (item.files[0], *(item.npm.files[:1] if item.npm else ()))
        if digest in {file.sha256 for file in files}:
            return item
    return None


def class_line(source: Source, labels: Path | None, known: Registered | None) -> str:
    """The names of a classifier's classes as JSON, or words on them: what metadata keep.

    Args:
        source: the file's content.
        labels: a file with a line for each class; None takes the names that the registry knows.
        known: the registered weights that the file is of.

    Raises:
        OSError: the labels cannot be read.
        ValueError: they are not one for each class, each another.
    """
    count = 0 if source.classifier is None else len(source.classifier[1])
    names = list(known.class_names) if known else []
    if labels is not None and source.detector is None:
        names = [line.strip() for line in read_text(labels).splitlines()]
        if len(names) != count or len(set(names)) != count or "" in names:
            named = len(set(names) - {""})
            raise ValueError(
                f"--labels {labels} names {named} classes, {source.path} has {count}; "
                "give a line with a name of its own for each"
            )
    if names:
        return json.dumps(names)
    return CLASSES_1000 if count == 1000 else f"{count} classes without names"
