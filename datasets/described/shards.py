"""WebDataset's tar shards: ``000123.jpg`` beside ``000123.cls``, ``.json`` or ``.txt``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.described.metadata import FILE_NAME, UNLABELLED, label_of
from datasets.file_kinds import is_image_name
from datasets.folders import APPLE_DOUBLE, LeftOutFiles, is_data
from datasets.packed import Member, member_bytes, members_of, packed_path
from datasets.tables import clean_name, decoded
from datasets.validation import read_text, short

LABELS = ("cls", "txt", "json", "class", "label")
CLASS_LISTS = ("classes.txt", "classnames.txt", "class_names.txt", "labels.txt", "names.txt")
LONGEST_LABEL = 1 << 24  # bytes of a description
LEAST_CAPTIONS = 20  # texts, from which on they are held to be captions where nearly all differ
Row = tuple[Path, dict[str, Any]]


def tar_rows(files: Sequence[Path]) -> tuple[list[Row], list[str]]:
    """The photos of some shards with what is beside them, and sentences on what was left out.

    A photo and its files have one name up to the first point. ``.cls`` is a class; ``.json`` an object with
    ``label`` or ``objects``; ``.txt`` a class where nothing else says one. Numbers are those of the lines of
    ``classes.txt`` beside the shards, where it is there.

    Raises:
        ValueError: a shard or a description in it is damaged, or the texts are captions.
    """
    rows: list[Row] = []
    left_out, alone, texts = LeftOutFiles(), [], set()
    for path in files:
        for key, parts in _samples(path, left_out).items():
            images = [name for name in parts if is_image_name(f"a.{name}")]
            images.sort(key=lambda name: name.count("."))
            if not images:
                alone.append(f"{path.name}: {key}")
                continue
            left_out.suffixes.update(f".{name}" for name in images[1:])
            row = _described(path, parts)
            if "text" in row:
                texts.add(row["text"])
            rows.append((packed_path(path, parts[images[0]].name), row))
    where = str(files[0] if len(files) == 1 else files[0].parent)
    by_text = sum("text" in row for _, row in rows)
    if by_text > LEAST_CAPTIONS and len(texts) > by_text / 2:
        raise ValueError(
            f"{where}: the .txt of {by_text} photos are {len(texts)} different texts, such as "
            f"{short(min(texts))}: captions, not classes; write the class into .cls or into .json as label"
        )
    names = _class_names(files[0].parent)
    named = [(path, _with_name(row, names, where)) for path, row in rows]
    notes = left_out.notes(where)
    if alone:
        notes.append(f"{where}: {len(alone)} samples have no photo and are left out, such as {alone[0]}")
    return named, notes


def _samples(path: Path, left_out: LeftOutFiles) -> dict[str, dict[str, Member]]:
    """Key -> suffix -> member, of the photos and the descriptions in a shard."""
    results: dict[str, dict[str, Member]] = {}
    for name, member in members_of(path).items():
        place = PurePosixPath(name)
        if place.name.startswith(APPLE_DOUBLE) or not all(map(is_data, place.parts)):
            left_out.folders["._ and hidden members"] += 1
            continue
        stem, _, suffix = place.name.partition(".")
        suffix = suffix.lower()
        if is_image_name(place.name) or suffix in LABELS:
            results.setdefault(str(place.with_name(stem)), {})[suffix] = member
        else:
            left_out.suffixes[f".{suffix}" if suffix else ""] += 1
    return results


def _described(path: Path, parts: dict[str, Member]) -> dict[str, Any]:
    """What the members beside a photo say of it."""
    row: dict[str, Any] = {}
    if "json" in parts:
        where = packed_path(path, parts["json"].name)
        try:
            value = json.loads(_text(path, parts["json"]))
        except (ValueError, RecursionError) as err:
            raise ValueError(f"{where} is no JSON ({err}); write the shard again") from err
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, got {short(value)}")
        row = {**value, **_class_in(value)}
    label = next((parts[name] for name in ("cls", "class", "label") if name in parts), None)
    if label is not None:
        row = {"label": _text(path, label).strip(), **row}
    elif "txt" in parts and label_of({FILE_NAME: "", **row}) is None and "objects" not in row:
        row["text"] = row["label"] = _text(path, parts["txt"]).strip()
    return {**row, FILE_NAME: parts[next(iter(parts))].name}


def _class_in(value: dict[str, Any]) -> dict[str, Any]:
    """A class that other tools write under a name of theirs; words before numbers."""
    names = [value[name] for name in ("class_name", "classname", "cls") if name in value]
    words = next((name for name in names if isinstance(name, str) and name.strip()), None)
    return {} if words is None else {"label": words}


def _text(path: Path, member: Member) -> str:
    where = packed_path(path, member.name)
    if member.size > LONGEST_LABEL:
        raise ValueError(f"{where} has {member.size:,} bytes, too many for a description of one photo")
    return decoded(member_bytes(path, member), where)


def _class_names(folder: Path) -> list[str]:
    """The classes by number, of a list beside the shards; none where there is no such list."""
    listed = next((folder / name for name in CLASS_LISTS if (folder / name).is_file()), None)
    lines = [] if listed is None else read_text(listed).splitlines()
    return [clean_name(line) for line in lines if line.strip()]


def _with_name(row: dict[str, Any], names: Sequence[str], where: str) -> dict[str, Any]:
    label = row.get("label")
    if not names or label in UNLABELLED or not str(label).isdecimal():
        return row
    if int(str(label)) >= len(names):
        raise ValueError(f"{where}: class {label} of {row[FILE_NAME]} is none of the {len(names)} listed")
    return {**row, "label": names[int(str(label))]}
