"""Images that are there twice: within a split, and across splits, where they flatter the evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from apps.engine.checking.fingerprints import Fingerprint
from apps.engine.checking.near import near_pairs, stacked
from apps.engine.data.problems import LEAVE_OUT, Move, Problem, Problems
from datasets.base import ImageDataset
from datasets.packed import beginning, size_of

Place = tuple[str, int]  # split, index
KINDS = ("duplicates", "leaks", "near_duplicates", "near_leaks", "conflicting_copies")


def exact_copies(prints: Mapping[str, Sequence[Fingerprint]]) -> list[list[Place]]:
    """Groups of places whose files are the same byte for byte; a file that is named twice is one, too."""
    groups: dict[str, list[Place]] = defaultdict(list)
    for split, items in prints.items():
        for index, item in enumerate(items):
            if item.digest:
                groups[item.digest].append((split, index))
    return [places for places in groups.values() if len(places) > 1]


def near_copies(prints: Mapping[str, Sequence[Fingerprint]]) -> list[tuple[list[Place], float]]:
    """Pairs of places whose pictures are nearly the same, of different files, with how alike they are."""
    first: dict[str, Place] = {}
    for split, items in prints.items():
        for index, item in enumerate(items):
            if item.grey is not None:
                first.setdefault(item.digest or str(item.path), (split, index))
    places = list(first.values())
    greys = [grey for split, index in places if (grey := prints[split][index].grey) is not None]
    return [([places[a], places[b]], score) for a, b, score in near_pairs(stacked(greys))]


def copy_problems(
    splits: Mapping[str, ImageDataset], exact: Sequence[Sequence[Place]],
    near: Sequence[tuple[Sequence[Place], float]],
) -> Problems:
    """Copies by kind: within a split, across splits, and such that have different classes.

    What mends them: a copy across splits leaves the training, further ones in a split are left out, and of
    copies with different classes all are left out. Near copies in one split stay.
    """
    results: Problems = {kind: [] for kind in KINDS}
    groups = [(places, 1.0, "") for places in exact] + [(places, score, "near_") for places, score in near]
    for places, score, prefix in groups:
        paths = tuple(splits[split].photos[index].path for split, index in places)
        names = [_class_of(splits[split], index) for split, index in places]
        captions = tuple(
            f"{split} {name or path.name}"
            for (split, _), name, path in zip(places, names, paths, strict=True)
        )
        across, conflicting = len({split for split, _ in places}) > 1, len(set(names)) > 1
        kind = prefix + ("leaks" if across else "duplicates")
        how = "the same file" if not prefix else "nearly the same picture"
        text = " and ".join(map(str, paths[:2])) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
        moves = _moves(places, paths, across=across, conflicting=conflicting, near=bool(prefix))
        problem = Problem(f"{text}: {how}", paths, captions, moves, score)
        results[kind].append(problem)
        if conflicting:
            words = f"{text}: {how}, but {' and '.join(sorted(set(names)))}"
            results["conflicting_copies"].append(Problem(words, paths, captions, moves, score))
    return results


def _class_of(images: ImageDataset, index: int) -> str:
    """The class of an image that has one; else empty."""
    return images.classes[images.photos[index].label] if images.single_label else ""


def _moves(
    places: Sequence[Place], paths: Sequence[Path], *, across: bool, conflicting: bool, near: bool
) -> tuple[Move, ...]:
    kept = {path for (split, _), path in zip(places, paths, strict=True) if split != "train"}
    if conflicting:
        gone = [path for path in paths if path not in kept] if across else list(paths)
    elif across:
        gone = [path for path in paths if path not in kept]
    else:
        gone = [] if near else [path for path in paths[1:] if path != paths[0]]
    return tuple(Move(path, LEAVE_OUT) for path in gone)


def leaks_before_training(train: ImageDataset, val: ImageDataset, *, most: int = 500) -> list[str]:
    """A sentence on validation images that are training images, byte for byte, if there are any.

    Files are compared by their sizes first, so that few are read.

    Args:
        train, val: the splits.
        most: validation images that are looked at, evenly spread.
    """
    step = max(len(val) // most, 1)
    looked = [photo.path for photo in val.photos[::step]]
    sizes = {path: size for path in looked if (size := size_of(path))}
    wanted = set(sizes.values())
    alike = [photo.path for photo in train.photos if size_of(photo.path) in wanted]
    of_content = {content: path for path in alike if (content := _content(path)) is not None}
    copies = [(path, of_content[content]) for path in sizes if (content := _content(path)) in of_content]
    if not copies:
        return []
    path, other = copies[0]
    same = "" if path == other else f" = {other}"
    return [
        f"{len(copies)} of {len(looked)} validation photos are training photos, too, such as {path}{same}: "
        "the figures will flatter; `check` lists them, also near ones"
    ]


def _content(path: Path) -> bytes | None:
    """The bytes at the beginning of a file, enough to tell photos of one size apart."""
    return beginning(path, 1 << 16) or None
