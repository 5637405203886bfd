"""Where a folder in one of YOLO's many layouts has its photos, labels and names of classes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.detection.base import existing, names_of
from datasets.folders import loose_images
from datasets.names import exists, path_tails
from datasets.tables import clean_name
from datasets.validation import read_text, short, whole

LISTS = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "names.txt")
_log = logging.getLogger(__name__)
DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml")
SUFFIXES = (".yaml", ".yml")
DARKNET = "obj.data"
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class YoloFiles:
    """The parts of a folder of YOLO's.

    Args:
        root: the folder.
        names: of the classes, by number.
        listing: the file that the names come from.
        splits: train and val, where they are there -> folders and lists of photos.
        points: keypoints that a line has after its box.
        notes: sentences on what a user should know.
    """

    root: Path
    names: list[str]
    listing: Path
    splits: dict[str, list[Path]]
    points: int = 0
    notes: tuple[str, ...] = ()

    def labels_of(self, photo: Path) -> Path:
        """The text with a photo's boxes: in ``labels`` where the photo is in ``images``, else beside it."""
        parts = list(photo.with_suffix(".txt").parts)
        for at in range(len(parts) - 2, -1, -1):
            if parts[at].lower() == "images":
                for name in ("labels", "Labels"):
                    path = Path(*parts[:at], name, *parts[at + 1 :])
                    if there := _written(path, photo):
                        return there
        beside = photo.with_suffix(".txt")
        return _written(beside, photo) or beside


def _written(path: Path, photo: Path) -> Path | None:
    """The text with labels, which some tools call ``a.TXT`` or ``a.jpg.txt``."""
    forms = (path, path.with_suffix(".TXT"), path.with_name(f"{photo.name}.txt"))
    return next((form for form in forms if form.is_file()), None)


def yolo_files(root: Path) -> YoloFiles | None:
    """What is where; None for a folder in none of the layouts.

    Args:
        root: the folder, or its ``data.yaml``.

    Raises:
        FileNotFoundError: the names of the classes, or what ``data.yaml`` names, are missing.
        ValueError: ``data.yaml`` is none, or two classes have one name.
    """
    described = root if root.suffix in SUFFIXES and root.is_file() else _description(root)
    if described is not None:
        return _described(described)
    if (root / DARKNET).is_file():
        return _darknet(root)
    splits = _splits(root)
    if splits is None:
        return None
    places = [root, root / "labels", *(place for part in splits.values() for place in part)]
    known = next((place / name for place in places for name in LISTS if (place / name).is_file()), None)
    listing = existing(known or root / "classes.txt", "the names of the classes, one a line")
    return YoloFiles(root, _lines(listing), listing, splits)


def _splits(root: Path) -> dict[str, list[Path]] | None:
    """The folders of photos by split; one split where photos lie together; None for other layouts."""
    together = (root / "labels").is_dir() and (root / "images").is_dir()
    results: dict[str, list[Path]] = {}
    for split in ("train", "val"):
        places = [root / "images" / name for name in names_of(split)] if together else []
        places += [root / name / "images" for name in names_of(split) if (root / name / "labels").is_dir()]
        places += [root / name for name in names_of(split) if (root / name / "_darknet.labels").is_file()]
        place = next((place for place in places if place.is_dir()), None)
        results |= {split: [place]} if place is not None else {}
    if results:
        return results
    if together:
        return {"train": [root / "images"]}
    listed = (root / "classes.txt").is_file() and root.is_dir()
    beside = listed and any(path.with_suffix(".txt").is_file() for path in loose_images(root))
    return {"train": [root]} if beside else None


def _description(root: Path) -> Path | None:
    """The file that describes a set to Ultralytics' tools."""
    known = next((root / name for name in DESCRIPTIONS if (root / name).is_file()), None)
    if known is not None or not root.is_dir():
        return known
    others = [path for path in sorted(root.iterdir()) if path.suffix in SUFFIXES and path.is_file()]
    fits = [
        path for path in others if isinstance(data := _yaml(path), dict) and {"names", "train"} <= data.keys()
    ]
    return fits[0] if len(fits) == 1 else None


def _yaml(path: Path) -> Any:
    """What a file of YAML holds; ``yes`` and ``no`` are words, as names of classes mean them."""
    import yaml

    words: Any = type("Words", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {
        first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }})
    text = read_text(path)
    try:
        return yaml.load(text, Loader=words)
    except (yaml.YAMLError, ValueError, RecursionError) as err:  # also dates that there are not, and depth
        raise ValueError(f"{path} is no YAML ({' '.join(str(err).split())}); mend the file") from err


def _described(path: Path) -> YoloFiles:
    data = _yaml(path)
    if not isinstance(data, dict) or not data.keys() & {"names", "nc"}:
        raise ValueError(f"{path} describes no data set: it needs train, val and names")
    base = path.parent / str(data.get("path") or "")
    splits: dict[str, list[Path]] = {}
    for split in ("train", "val"):
        entry = next((data[name] for name in names_of(split) if data.get(name)), None)
        entries = entry if isinstance(entry, list) else [] if entry is None else [entry]
        places = [_place(str(item), base, path.parent) for item in entries]
        for item, place in zip(entries, places, strict=True):
            if place is None:
                _log.warning("%s names %s for %s, which is not there: left out", path, item, split)
        splits |= {split: there} if (there := [place for place in places if place is not None]) else {}
    if not splits:
        raise FileNotFoundError(
            f"{path} names train {data.get('train')!r} and val {data.get('val')!r}, and neither is there; "
            "correct them"
        )
    shape = data.get("kpt_shape")
    points = int(shape[0]) if isinstance(shape, list) and shape and isinstance(shape[0], int) else 0
    names, count = _names_in(data, path), data.get("nc")
    odd = count is not None and str(count).strip() != str(len(names))
    note = f"{path} says nc: {short(count)} and names {len(names)} classes: the names count"
    return YoloFiles(path.parent, names, path, splits, points, (note,) if odd else ())


def _names_in(data: dict[str, Any], path: Path) -> list[str]:
    """The names of the classes: a list, a table by number, or only how many there are."""
    names = data.get("names")
    if isinstance(names, dict):
        try:
            of_number = {int(key): str(name) for key, name in names.items()}
            names = [of_number[number] for number in range(len(of_number))]
        except (KeyError, ValueError, TypeError) as err:
            raise ValueError(f"{path}: names must be numbered 0, 1, 2 and so on, got {short(names)}") from err
    if names is None and data.get("nc") is not None:
        names = list(range(whole(data["nc"], f"{path}: nc", 1, MOST_CLASSES)))
    if (
        not isinstance(names, list)
        or not names
        or any(isinstance(name, list | dict) or name is None for name in names)
    ):
        raise ValueError(f"{path}: names must be a list of the classes, got {short(names)}")
    return [clean_name(str(name)) for name in names]


def _place(entry: str, base: Path, root: Path) -> Path | None:
    """A folder or list that a file names, which may have been written on another machine."""
    if exists(base / entry):
        place = base / entry
        if not (place.is_file() or place.is_dir()):
            raise ValueError(f"{base}: its description names {short(entry)}, a pipe or a device; name a file")
        return place
    for parts in path_tails(entry):
        if parts == ["images"] and entry.strip("./\\") != "images":
            continue  # the folder of both splits
        for start in (base, root):
            if exists(start.joinpath(*parts)):
                return start.joinpath(*parts)
    return None


def _darknet(root: Path) -> YoloFiles:
    """CVAT's and Darknet's layout: ``obj.data`` names the lists of photos and of classes."""
    listing = root / DARKNET
    pairs = (line.partition("=") for line in read_text(listing).splitlines() if "=" in line)
    data = {key.strip(): value.strip() for key, _, value in pairs}
    names = _place(data.get("names", "obj.names"), root, root)
    names = existing(names or root / "obj.names", f"the names of the classes, which {listing} names")
    splits: dict[str, list[Path]] = {}
    for split, key in (("train", "train"), ("val", "valid")):
        place = _place(data[key], root, root) if data.get(key) else None
        splits |= {split: [place]} if place is not None else {}
    return YoloFiles(root, _lines(names), names, splits)


def _lines(listing: Path) -> list[str]:
    """Names of classes, one a line; their numbers are those of the lines."""
    names = [clean_name(line) for line in read_text(listing).rstrip().splitlines()]
    if "" in names:
        raise ValueError(
            f"{listing}:{names.index('') + 1}: the line is blank; lines number the classes, so remove it or "
            "fill it"
        )
    return names
