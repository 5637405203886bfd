"""Photos with a description each: beside ``metadata.jsonl``, in Parquet files, or in tar shards.

These are Hugging Face's ``imagefolder`` and Parquet files, and WebDataset's shards. Each gives rows: a photo,
and a dict of what is said of it, such as ``label`` or ``objects``.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from datasets.described.metadata import FILE_NAME, metadata_of, read_metadata
from datasets.described.parquet_rows import parquet_rows
from datasets.described.shards import tar_rows
from datasets.names import NamedPhotos, missing_photos
from datasets.packed import PARQUET, TAR

SPLITS = {"train": ("train", "trainval", "training"), "val": ("val", "valid", "validation", "test")}
PLACES = ("", "data", "default", "shards")
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST_SHARDS = 100_000
NEAR = (  # ends of names that are nearly right -> what to say
    (r"\.(tar\.(gz|bz2|xz|zst)|tgz)$",
     "is compressed, so its photos cannot be found again; unpack it to a plain .tar"),
    (r"\.arrow$", "was written by save_to_disk; write Parquet, with to_parquet, instead"),
    (r"^meta-?_?data(\.(json|jsonl|ndjson|tsv|csv)(\.txt)?)?$",
     "is not read; Hugging Face's file is metadata.jsonl, a line a photo, or metadata.csv"),
    (r"^annotations\.xml$", "is CVAT's own format; export COCO 1.0, Ultralytics YOLO or Pascal VOC"),
    (r"^project-\d+-at-.*\.json$", "is Label Studio's own format; export YOLO or COCO, with images"),
    (r"\.parquet$", "has no column of images; Hugging Face's is called image, with bytes and path"),
    (r"\.tar$", "holds no photos with a .cls, .json or .txt beside them"),
)
Row = tuple[Path, dict[str, Any]]


@dataclass(frozen=True)
class Described:
    """The photos of a split with what is said of them.

    Args:
        where: the file or the files, for messages.
        rows: a photo that is there, and what is said of it.
        notes: sentences on what was left out.
    """

    where: Path
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def described_splits(root: Path) -> set[str]:
    """The splits of a folder of described photos; ``train`` alone where its files belong to none."""
    return set(_sources(root)[0])


def described(root: Path, split: str) -> Described | None:
    """The photos of a split; None where nothing in a folder describes any.

    Args:
        root: the folder, one Parquet or tar file, or a pattern such as ``shards/{000000..000009}.tar``.
        split: ``train`` or ``val``.

    Raises:
        FileNotFoundError: all photos are missing, or the pattern matches nothing.
        ValueError: a file is damaged.
    """
    sources, others = _sources(root)
    files = sources.get(split)
    if not files:
        return None
    notes = _unread(root, others) if split == "train" else []
    if files[0].name == (metadata_of(files[0].parent) or Path()).name:
        rows, missing = _beside(files[0])
        return Described(files[0], rows, [*notes, *missing])
    rows, more = parquet_rows(files) if files[0].suffix.lower() == PARQUET else tar_rows(files)
    return Described(files[0] if len(files) == 1 else files[0].parent, rows, [*notes, *more])


def near_miss(root: Path) -> str:
    """What in a folder is nearly one of these layouts, and how to mend it; empty where nothing is."""
    if not root.is_dir():
        return ""
    names = [entry.name for place in _folders(root) for entry in sorted(place.iterdir()) if entry.is_file()]
    sentences = (f"{name} {words}" for name in names for end, words in NEAR if re.search(end, name.lower()))
    return next(sentences, "")


def _sources(root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each split, and those that are of no split."""
    if root.is_dir():
        listed = {s: f for s, names in SPLITS.items() if (f := _first(root / name for name in names))}
        whole = metadata_of(root)
        if whole is not None:
            listed = listed or {"train": whole}
        if listed:
            return {split: [path] for split, path in listed.items()}, []
    files = [path for path in _packed(root) if path.name != "metadata.parquet" and _holds_images(path)]
    shards = [path for path in files if path.suffix.lower() == TAR]
    files = shards or files
    base = root if root.is_dir() else None
    of_split = {path: _split_in(path, base) for path in files}
    if not any(of_split.values()):
        return ({"train": files} if files else {}), []
    by_name = {name: [path for path in files if of_split[path] == name] for name in sum(SPLITS.values(), ())}
    results: dict[str, list[Path]] = {}
    for split, names in SPLITS.items():
        chosen = next((by_name[name] for name in names if by_name[name]), [])
        results |= {split: chosen} if chosen else {}
    taken = {path for chosen in results.values() for path in chosen}
    return results, [path for path in files if path not in taken]


def _first(folders: Iterator[Path]) -> Path | None:
    return next((path for folder in folders if (path := metadata_of(folder)) is not None), None)


def _folders(root: Path) -> list[Path]:
    names = ["", *(name for names in SPLITS.values() for name in names)]
    places = [root / place / name for place, name in product(PLACES, names)]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def _packed(root: Path) -> list[Path]:
    """The Parquet and tar files that a path means, by name."""
    if root.is_file():
        return [root] if root.suffix.lower() in (PARQUET, TAR) else []
    if not root.is_dir():
        return _expanded(root)
    return [
        path for place in _folders(root) for path in sorted(place.iterdir())
        if path.suffix.lower() in (PARQUET, TAR) and path.is_file() and not path.name.startswith(".")
    ]


def _expanded(pattern: Path) -> list[Path]:
    """The files of a pattern with braces or wildcards; none where it has neither."""
    text = str(pattern)
    if not (_BRACES.search(text) or glob.has_magic(text)):
        return []
    results: list[Path] = []
    missing: list[str] = []
    for name in expand_braces(text):
        files = sorted(glob.glob(name)) if glob.has_magic(name) else [name] * Path(name).is_file()  # noqa: PTH207
        results += map(Path, files)
        missing += [] if files else [name]
    if missing:
        raise FileNotFoundError(
            f"{pattern} means {len(missing)} files that are not there, such as {missing[0]}; check it"
        )
    return [path for path in dict.fromkeys(results) if path.suffix.lower() in (PARQUET, TAR)]


def expand_braces(text: str) -> list[str]:
    """``{000..002}`` and ``{a,b}`` written out, as a shell does.

    Raises:
        ValueError: these are more than 100,000 names.
    """
    match = _BRACES.search(text)
    if match is None:
        return [text]
    first, last, names = match.groups()
    words = names.split(",") if names is not None else _numbers(first, last)
    rests = expand_braces(text[match.end():])
    if len(words) * len(rests) > _MOST_SHARDS:
        raise ValueError(f"{text} means more than {_MOST_SHARDS:,} files; give a narrower pattern")
    return [text[:match.start()] + word + rest for word in words for rest in rests]


def _numbers(first: str, last: str) -> list[str]:
    if int(last) - int(first) > _MOST_SHARDS:
        raise ValueError(f"{{{first}..{last}}} means more than {_MOST_SHARDS:,} files; narrow it")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _holds_images(path: Path) -> bool:
    from datasets.packed import image_column
    from datasets.parquet import open_parquet

    if path.suffix.lower() == TAR:
        return True
    return image_column(open_parquet(path, ()).schema_arrow) is not None


def _split_in(path: Path, base: Path | None) -> str:
    """What a file's name, or that of its folder, says of its split."""
    text = str(path.relative_to(base)) if base is not None else "/".join(path.parts[-2:])
    words = re.split(r"[^a-z]+", text.lower())
    return next((name for names in SPLITS.values() for name in names if name in words), "")


def _unread(root: Path, others: Sequence[Path]) -> list[str]:
    if not others:
        return []
    named = ", ".join(path.name for path in others[:3]) + (", ..." if len(others) > 3 else "")
    return [f"{root}: {len(others)} files are of no split that is read, and left out: {named}"]


def _beside(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of ``metadata.jsonl`` whose photos lie beside it, and a sentence on those that do not."""
    find: Callable[[str], Path | None] = NamedPhotos(path.parent).find
    rows = read_metadata(path)
    files = [(find(row[FILE_NAME]), row) for row in rows]
    missing = [row[FILE_NAME] for file, row in files if file is None]
    notes = missing_photos(path, missing, len(rows))
    return [(file, row) for file, row in files if file is not None], notes
