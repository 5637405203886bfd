"""Which column of a file of predicted positions is what, by the names that public systems give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

COORDINATES = {"lat": ("lat", "latitude"), "lon": ("lon", "lng", "long", "longitude")}
PREDICTED = ("pred", "predicted", "prediction", "est", "estimated", "guess", "guessed", "answer")
TRUE = ("true", "gt", "target", "truth", "ground_truth", "groundtruth", "actual", "real")
NAMES = {
    "path": (
        "path", "photo", "image", "file", "filename", "file_name", "img_path", "image_path", "img_file",
        "image_file", "img_id", "image_id", "image_name", "img", "id", "sample_id",
    ),
    "confidence": ("confidence", "probability", "p"),
    "partition": ("p_key", "partition"),
}


def plain_name(name: str) -> str:
    """A column's name in small letters, words joined by underscores, without a unit of degrees."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    joined = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return re.sub(r"_(deg|degrees?)$", "", joined)


def pick_columns(path: Path, heading: Sequence[str], *, with_truth: bool) -> dict[str, str]:
    """``path``, ``lat``, ``lon``, ``true_lat``, ``true_lon``, ``confidence`` -> the names in the file.

    Bare names such as lat and lon are the prediction, or, beside others such as pred_lat and pred_lon, the
    truth if that has no column with a name such as gt_lat.

    Args:
        path: the file, for messages.
        heading: its columns.
        with_truth: whether the true positions must be there, too; else the photos' names must.

    Raises:
        ValueError: a column is missing, or there are several for one thing; in one line.
    """
    chosen = _coordinates(path, heading)
    for key, names in NAMES.items():
        plain = {plain_name(name): name for name in reversed(heading)}
        known = next((plain[name] for name in names if name in plain), None)
        if known is not None:
            chosen[key] = known
    wanted = ("lat", "lon", "true_lat", "true_lon") if with_truth else ("path", "lat", "lon")
    missing = [key for key in wanted if key not in chosen]
    if missing:
        lacking, there, expected = (", ".join(names) for names in (missing, heading, wanted))
        hint = _hint(missing)
        raise ValueError(f"{path} has no column {lacking}; it has {there}; expected {expected}{hint}")
    return chosen


def _hint(missing: Sequence[str]) -> str:
    truth = any(key.startswith("true_") for key in missing)
    return ", or the positions of the photos by --data" if truth else ""


def _coordinates(path: Path, heading: Sequence[str]) -> dict[str, str]:
    """The columns of predicted and of true coordinates."""
    bare, predicted, true = (
        {key: _only(path, heading, _spellings(key, words), f"the {what}{key}") for key in COORDINATES}
        for words, what in (((), ""), (PREDICTED, "predicted "), (TRUE, "true "))
    )
    if not any(predicted.values()):
        predicted, bare = bare, {}
    elif not any(true.values()):
        true, bare = bare, {}
    chosen = predicted | {f"true_{key}": name for key, name in true.items()}
    return {key: name for key, name in chosen.items() if name is not None}


def _spellings(key: str, words: Sequence[str]) -> set[str]:
    """The plain names of a coordinate with one of the words before or after it, or alone without words."""
    bases = COORDINATES[key]
    if not words:
        return {*bases, *(f"gps_{base}" for base in bases)}
    pairs = [(word, base) for word in words for base in bases]
    return {made for word, base in pairs for made in (f"{word}_{base}", f"{base}_{word}", word + base)}


def _only(path: Path, heading: Sequence[str], names: set[str], what: str) -> str | None:
    there = [name for name in heading if plain_name(name) in names]
    if len(there) > 1:
        raise ValueError(
            f"{path} has {len(there)} columns for {what}: {', '.join(there)}; keep one of them, or rename "
            "the others"
        )
    return there[0] if there else None
