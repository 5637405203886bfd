"""``moves.csv``: what a check would move or leave out, written, read and followed by a training."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from apps.engine.core.files import made_folder, write_text
from apps.engine.data.problems import ACTIONS, LEAVE_OUT, Move, Problems
from datasets.base import ImageDataset
from datasets.tables import read_table

D = TypeVar("D", bound=ImageDataset)
COLUMNS = ("path", "action", "class", "kind", "why")


def moves_of(problems: Problems) -> dict[Path, tuple[Move, str, str]]:
    """Image -> what to do with it, the kind of problem and why; leaving out goes before moving."""
    results: dict[Path, tuple[Move, str, str]] = {}
    for kind, items in problems.items():
        for item in items:
            for move in item.moves:
                if move.path not in results or move.action == LEAVE_OUT != results[move.path][0].action:
                    results[move.path] = move, kind, item.text
    return results


def write_moves(path: Path, root: Path, problems: Problems) -> int:
    """Write the table, whose paths start from the data's folder; returns the number of its rows.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    base, rows = folder_of(root), moves_of(problems)
    for move, kind, why in rows.values():
        words = why.replace(f"{base}{os.sep}", "")
        table.writerow([_name(move.path, base), move.action, move.name, kind, words])
    made_folder(path.parent)
    write_text(path, text.getvalue())
    return len(rows)


def read_moves(path: Path, root: Path) -> list[Move]:
    """The rows of such a table, also of one that was changed by hand.

    Args:
        path: of the table; the columns ``path`` and ``action`` are needed.
        root: the data's folder, which paths start from.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a column is missing, or a row has no path or an unknown action.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--fix {path} is no file; `check APP DATA --fix {path}` writes it")
    table = read_table(path)
    missing = [name for name in COLUMNS[:2] if name not in table.columns]
    if missing:
        raise ValueError(f"{path} has no column {' and no column '.join(missing)}; `check` writes both")
    paths, actions = table.texts("path"), table.texts("action")
    names = table.texts("class") if "class" in table.columns else [""] * len(paths)
    results = []
    for number, (name, action, target) in enumerate(zip(paths, actions, names, strict=True), start=1):
        if not name or action not in ACTIONS or (action != LEAVE_OUT and not target):
            raise ValueError(
                f"{path}, row {number}: expected a path, an action of {' or '.join(ACTIONS)}, and a class to "
                f"move to; got {name!r}, {action!r}, {target!r}"
            )
        results.append(Move(folder_of(root) / name, action, target))
    return results


def followed(images: D, table: Path, root: Path) -> D:
    """The images without those that a table leaves out, and with moved ones in their new class.

    ``fixed`` and ``notes`` of the result tell how many these are.

    Args:
        images: of a split.
        table: that :func:`write_moves` wrote, for all splits.
        root: the data's folder.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is none; images are moved to a class that there is not; or none is left.
    """
    wanted = {resolved(move.path): move for move in read_moves(table, root)}
    places = [resolved(photo.path) for photo in images.photos]
    of_index = {n: wanted[place] for n, place in enumerate(places) if place in wanted}
    if not of_index:
        return images
    kept = [n for n in range(len(images)) if n not in of_index or of_index[n].action != LEAVE_OUT]
    if not kept:
        raise ValueError(f"--fix {table} leaves out all {len(images)} photos of a split; take rows out of it")
    part, photos = images.subset(kept), [images.photos[index] for index in kept]
    for place, index in enumerate(kept):
        if index in of_index:
            photos[place] = replace(photos[place], label=_label(images, of_index[index]))
    part.photos = tuple(photos)
    part.fixed = {"moved": len(set(kept) & of_index.keys()), "left_out": len(images) - len(kept)}
    words = f"{part.fixed['moved']} photos moved, {part.fixed['left_out']} left out, {len(kept)} stay"
    part.notes = [*images.notes, f"--fix {table.name}: {words}"]
    return part


def folder_of(root: Path) -> Path:
    """The folder that paths start from: that of the data, or around it where it is a file."""
    return root if root.is_dir() else root.parent


def _label(images: ImageDataset, move: Move) -> int:
    if not images.single_label:
        raise ValueError(
            f"--fix moves {move.path} to {move.name!r}, but these images have no single class; leave it out"
        )
    if move.name not in images.classes:
        known = ", ".join(images.classes[:5]) + (", ..." if len(images.classes) > 5 else "")
        raise ValueError(f"--fix moves {move.path} to {move.name!r}, which is no class; there are {known}")
    return images.classes.index(move.name)


def _name(path: Path, base: Path) -> str:
    """A path from the data's folder, where it is in it."""
    if path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    absolute, folder = path.absolute(), base.absolute()
    return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()


def resolved(path: Path) -> str:
    """A path as it is compared with others."""
    return os.path.normpath(path.absolute())
