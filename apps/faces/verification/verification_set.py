"""What faces are evaluated on: images, their people, the pairs to compare; from any of three layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from apps.engine.core.console import Console
from apps.engine.data.in_order import in_order
from apps.faces.detection.detector import Face
from apps.faces.extraction.align import Quality, square_crop
from apps.faces.extraction.embedder import Align, FaceModel, Vectors
from apps.faces.extraction.extractor import Crop, Extraction, FaceExtractor
from apps.faces.extraction.sources import Source
from apps.faces.verification.protocol import Bools, Ints
from datasets.faces.identities import Identities, draw_pairs
from datasets.faces.insightface_bin import VerificationBin
from datasets.faces.lfw import LFW, is_lfw
from datasets.image_io import BadImageError

FOLDS, PAIRS_A_FOLD = 10, 300


@dataclass(frozen=True)
class VerificationSet:
    """Photos and the pairs of them that are compared.

    Args:
        names: one an image, without its suffix: ``PERSON/PERSON_0001``.
        look: the face of an image by its number, cut out by a :class:`FaceExtractor`.
        people: (N,) the person on each, 0 upwards; None where only pairs are known.
        first: (P,) images.
        second: (P,) images.
        same: (P,) whether a pair shows one person.
        folds: (P,).
        notes: sentences on what is missing.
    """

    names: tuple[str, ...]
    look: Callable[[FaceExtractor, int], Extraction]
    people: Ints | None
    first: Ints
    second: Ints
    same: Bools
    folds: Ints
    notes: list[str] = field(default_factory=list)

    def without(self, gone: Bools) -> VerificationSet:
        """The trial less some images, and less the pairs that they are in."""
        if not gone.any():
            return self
        numbers = np.cumsum(~gone) - 1
        keep = ~gone[self.first] & ~gone[self.second]
        left = np.flatnonzero(~gone)
        people = None if self.people is None else np.unique(self.people[left], return_inverse=True)[1]
        return replace(
            self, names=tuple(self.names[i] for i in left), people=people,
            look=lambda looker, i: self.look(looker, int(left[i])), first=numbers[self.first[keep]],
            second=numbers[self.second[keep]], same=self.same[keep], folds=self.folds[keep],
        )


def load_verification_set(
    data: Path, *, pairs: Path | None = None, folds: Sequence[int] | None = None, seed: int = 0
) -> VerificationSet:
    """Photos to evaluate on.

    Args:
        data: LFW's layout (a folder with ``pairs.txt``), an insightface ``.bin`` file, or a folder with a
            folder a person, from which pairs are drawn.
        pairs: LFW's list, where it lies elsewhere.
        folds: of LFW's; None for all.
        seed: of the pairs drawn.

    Raises:
        OSError: images or lists are missing.
        ValueError: a file is damaged, or there are too few people.
    """
    if data.suffix == ".bin":
        return _of_bin(VerificationBin(data))
    if pairs is not None or is_lfw(data):
        return _of_lfw(LFW(data, pairs=pairs, folds=folds))
    if folds is not None:
        raise ValueError(f"--folds are those of a pairs.txt, and {data} has none; leave --folds out")
    return _of_people(Identities(data), data, seed)


def _of_lfw(lfw: LFW) -> VerificationSet:
    names = sorted(lfw.paths)
    numbers = {name: number for number, name in enumerate(names)}
    people = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    first, second = (
        np.array([numbers[getattr(p, side)] for p in lfw.pairs]) for side in ("first", "second")
    )
    sources = [Source(str(lfw.paths[name]), lfw.paths[name]) for name in names]
    return VerificationSet(
        tuple(names), lambda looker, i: looker(sources[i]), people, first, second,
        np.array([p.same for p in lfw.pairs]), np.array([p.fold for p in lfw.pairs]), lfw.notes,
    )


def _of_people(photos: Identities, root: Path, seed: int) -> VerificationSet:
    labels = [photo.label for photo in photos.photos]
    folds = min(FOLDS, len(photos.classes) // 2)
    drawn = draw_pairs(labels, folds=folds, each=PAIRS_A_FOLD, seed=seed)
    first, second, same, fold = (np.array(column) for column in zip(*drawn, strict=True))
    names = tuple(str(p.path.relative_to(root).with_suffix("")) for p in photos.photos)
    sources = [Source(str(p.path), p.path) for p in photos.photos]
    return VerificationSet(
        names, lambda looker, i: looker(sources[i]), np.array(labels), first, second, same.astype(bool), fold,
        photos.notes,
    )


def _of_bin(crops: VerificationBin) -> VerificationSet:
    """The crops are aligned already, and only pairs are known."""
    count = len(crops.same)
    folds = np.concatenate([np.full(len(part), number) for number, part in
                            enumerate(np.array_split(np.arange(count), min(FOLDS, count)), 1)])

    def look(looker: FaceExtractor, index: int) -> Extraction:
        name = f"{crops.path}#{index}"
        source = Source(name, crops.path)
        try:
            image = crops[index]
        except BadImageError as err:
            return Extraction(source, "", (-1, 0, 0), problem=err.reason, readable=False)
        side = float(image.width)
        crop = Crop(Face((0.0, 0.0, side, float(image.height)), None, None), Quality(side, 0.0, 0.0))
        return Extraction(source, "", (-1, 0, 0), [crop], [square_crop(image, looker.resolution)])

    pair = np.arange(count)
    return VerificationSet(
        tuple(f"{crops.path.stem}/{i}" for i in range(2 * count)), look, None, 2 * pair, 2 * pair + 1,
        np.array(crops.same), folds,
    )


def embed_verification_set(
    trial: VerificationSet, model: FaceModel, *, align: Align, workers: int, console: Console
) -> tuple[Vectors, Bools]:
    """A vector an image, of its largest face, and which images gave none.

    Args:
        trial: the images.
        model: to embed with.
        align: how faces are cut out; ready crops with ``none``.
        workers: threads that read and detect.
        console: where words and progress go.
    """
    looker = FaceExtractor(model.info.resolution, "largest", align)
    vectors = np.zeros((len(trial.names), model.info.dim), dtype=np.float32)
    gone, numbers, images = np.ones(len(trial.names), dtype=bool), [], []
    with console.track("photos", len(trial.names)) as update:
        looked = in_order(lambda i: trial.look(looker, i), range(len(trial.names)), workers)
        for number, item in enumerate(looked):
            if item.problem:
                console.warn(f"left out: {item.source.name}: {item.problem}")
            else:
                numbers.append(number)
                images.append(item.images[0])
            if len(images) >= 64 or number == len(trial.names) - 1:
                vectors[numbers], gone[numbers] = model.vectors(images), False
                numbers, images = [], []
            update(number + 1, "")
    return vectors, gone
