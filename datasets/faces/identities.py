"""Photos by identity: a folder a person (VGGFace2, CASIA-WebFace), or a list of files."""

from __future__ import annotations

import random
from pathlib import Path

from datasets.base import ImageDataset, Photo
from datasets.image_io import find_images


class Identities(ImageDataset):
    """Photos of people, read lazily; a class is a person.

    Args:
        root: folder with a folder a person, or folder that the list's paths start from.
        listing: a file with an image a line, ``n000002/0001_01.jpg`` (the person is the folder) or
            ``0000045/001.jpg 0`` (the person is the number); parted by a space, a tab or a comma. None takes
            every image below root.
        min_photos: people with fewer are left out, 1 or more.

    Raises:
        FileNotFoundError: root, the list or a listed image is missing, or there is no person's folder.
        ValueError: no person has so many images.
    """

    def __init__(self, root: Path | str, *, listing: Path | None = None, min_photos: int = 1) -> None:
        root = Path(root)
        result = _below(root) if listing is None else _listed(root, listing)
        counts: dict[str, int] = {}
        for _, person in result:
            counts[person] = counts.get(person, 0) + 1
        people = sorted(person for person, count in counts.items() if count >= min_photos)
        if not people:
            raise ValueError(f"nobody in {listing or root} has {min_photos} photos or more")
        numbers = {person: number for number, person in enumerate(people)}
        super().__init__(
            [Photo(path, numbers[person]) for path, person in result if person in numbers], people
        )
        left = len(counts) - len(people)
        self.notes += [f"{left} people with fewer than {min_photos} photos are left out"] if left else []


def _below(root: Path) -> list[tuple[Path, str]]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; give one with a folder a person in it")
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    results = [(path, folder.name) for folder in folders for path in find_images([folder])]
    if not results:
        raise FileNotFoundError(f"{root} has no folder with photos; expected PERSON/photo.jpg")
    return results


def _listed(root: Path, listing: Path) -> list[tuple[Path, str]]:
    results = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        words = line.replace(",", " ").replace("\t", " ").split()
        if not words:
            continue
        path, person = root / words[0], words[1] if len(words) > 1 else Path(words[0]).parent.name
        if not person or not path.is_file():
            raise FileNotFoundError(
                f"{listing}, line {number}: no photo {path}; a line is PERSON/photo.jpg, or a path and a "
                f"number, from the folder {root}"
            )
        results.append((path, person))
    return results


def draw_pairs(
    labels: list[int], *, folds: int = 10, each: int = 300, seed: int = 0
) -> list[tuple[int, int, bool, int]]:
    """Pairs of images as LFW has them: people are in one fold only, half the pairs show one person.

    Args:
        labels: the person on each image.
        folds: 2 or more.
        each: pairs of a kind in a fold at most; fewer where the images do not give as many.
        seed: of the draw.

    Returns:
        (first, second, same, fold) with positions in ``labels``; folds from 1.

    Raises:
        ValueError: fewer than two people to a fold, or a fold has nobody with two images.
    """
    of_person: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        of_person.setdefault(label, []).append(index)
    people, rng = sorted(of_person), random.Random(seed)
    if folds < 2:
        raise ValueError(f"pairs need 2 folds with 2 people each, so 4 people; got {len(people)}: give more")
    if len(people) < 2 * folds:
        raise ValueError(f"{folds} folds need {max(2, folds) * 2} people, got {len(people)}")
    # people with several images first, so that every fold gets its share of them
    rng.shuffle(people)
    people.sort(key=lambda person: len(of_person[person]) < 2)
    pairs: list[tuple[int, int, bool, int]] = []
    for fold in range(1, folds + 1):
        members = {person: of_person[person] for person in people[fold - 1 :: folds]}
        pairs += [(a, b, True, fold) for a, b in _genuine(members, each, rng, fold)]
        pairs += [(a, b, False, fold) for a, b in _impostors(members, each, rng)]
    return pairs


def _genuine(
    members: dict[int, list[int]], each: int, rng: random.Random, fold: int
) -> list[tuple[int, int]]:
    possible = [
        (photos[i], photos[j]) for photos in members.values() for i in range(len(photos)) for j in range(i)
    ]
    if not possible:
        raise ValueError(f"nobody in fold {fold} has two photos; give more photos, or fewer folds")
    return rng.sample(possible, min(each, len(possible)))


def _impostors(members: dict[int, list[int]], each: int, rng: random.Random) -> list[tuple[int, int]]:
    drawn: set[tuple[int, int]] = set()
    people = sorted(members)
    for _ in range(20 * each):  # a few images give fewer pairs than asked for
        item, other = rng.sample(people, 2)
        pair = rng.choice(members[item]), rng.choice(members[other])
        drawn.add((min(pair), max(pair)))
        if len(drawn) == each:
            break
    return sorted(drawn)
