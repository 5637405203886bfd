"""``check`` on planted mistakes: flipped labels (beside cleanlab, if there), near copies, faces, boxes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHARE = 0.05  # of the labels that are flipped
COPIES, QUALITY = 20, 60  # near copies, and of their JPEGs
MOST_CUT, SCALES = 0.2, (0.4, 1.2)  # of a side together, and of the size
PEOPLE, STRANGERS, SPLIT = 600, 40, 20  # people, photos among another's, people in two folders
BOXES = 40  # of each kind of mistake
Labels = NDArray[np.int64]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", type=Path, required=True, help="class folders: train/CLASS and val/CLASS")
    parser.add_argument("--weights", default="mobilenetv1_1.0_224", help="what looks at the photos")
    parser.add_argument("--people", type=Path, help="face crops, a folder a person, of which 600 are taken")
    parser.add_argument("--face-weights", default="faces_mobilenetv1_1.0_224", help="what looks at faces")
    parser.add_argument("--boxes", type=Path, help="photos with boxes of COCO's classes")
    parser.add_argument("--detector", default="ssd_mobilenetv1_0.75_coco", help="what looks for objects")
    parser.add_argument("--seed", type=int, default=0, help="of what is planted")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object: how many of the planted mistakes are met, and what else."""
    from apps.dogs import Dogs, DogsSettings

    task = Dogs(DogsSettings(data=options.data))
    train, val = task.dataset("train"), task.dataset("val")
    labels = np.array([photo.label for photo in train.photos], np.int64)
    results = {
        "photos": len(train) + len(val), "weights": options.weights, "seed": options.seed,
        "labels": flipped_labels([photo.path for photo in train.photos], labels, options),
        "copies": near_copies_met(
            [photo.path for photo in train.photos], [photo.path for photo in val.photos], options.seed
        ),
    }
    if options.people is not None:
        results["people"] = people_met(options.people, options.face_weights, options.seed)
    if options.boxes is not None:
        results["boxes"] = boxes_met(options.boxes, options.detector, options.seed)
    sys.stdout.write(json.dumps(results) + "\n")


def flipped_labels(paths: Sequence[Path], labels: Labels, options: argparse.Namespace) -> dict[str, Any]:
    """Precision and recall of the first 5 % of the photos, likeliest first, where 5 % are flipped."""
    from apps.engine.checking.labels import label_doubts, out_of_fold
    from apps.engine.inference.pooled import features_of, pooled_model

    start = time.process_time()
    features = np.stack([v for v in features_of(pooled_model(options.weights), paths) if v is not None])
    seconds = {"features": time.process_time() - start}
    rng, classes = np.random.default_rng(options.seed), int(labels.max()) + 1
    flipped = rng.choice(len(labels), round(SHARE * len(labels)), replace=False)
    given = labels.copy()
    given[flipped] = (given[flipped] + rng.integers(1, classes, len(flipped))) % classes
    start = time.process_time()
    probabilities = out_of_fold(features, given, seed=options.seed)
    seconds["probe"] = time.process_time() - start
    doubts = label_doubts(probabilities, given)
    orders = {"check": doubts.order, "check, those that it names": np.flatnonzero(doubts.doubtful)}
    if importlib.util.find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues

        for score in ("self_confidence", "normalized_margin"):
            orders[f"cleanlab, {score}"] = find_label_issues(
                given, probabilities, return_indices_ranked_by=score
            )
    return {
        "flipped": len(flipped), "seconds_of_cpu": {key: round(value, 1) for key, value in seconds.items()},
        **{name: _met(order, flipped, len(flipped) if name != list(orders)[1] else len(order))
           for name, order in orders.items()},
    }


def _met(order: Labels, planted: Labels, first: int) -> dict[str, float]:
    """Precision and recall of the first ones of an order."""
    named = order[:first]
    hits = len(set(named.tolist()) & set(planted.tolist()))
    return {
        "named": len(named), "precision": round(hits / max(len(named), 1), 3),
        "recall": round(hits / len(planted), 3),
    }


def near_copies_met(train: Sequence[Path], val: Sequence[Path], seed: int) -> dict[str, Any]:
    """How many of some training photos that lie cut, resized and compressed among val's are met."""
    from apps.engine.checking.copies import exact_copies, near_copies
    from apps.engine.checking.fingerprints import fingerprints

    rng = np.random.default_rng(seed)
    sources = rng.choice(len(train), COPIES, replace=False).tolist()
    with TemporaryDirectory() as folder:
        planted = [_copy(train[at], Path(folder) / f"{at}.jpg", rng) for at in sources]
        start = time.process_time()
        prints = {"train": fingerprints(train), "val": fingerprints([*val, *planted])}
        read = time.process_time() - start
        pairs = {tuple(sorted(places)) for places, _ in near_copies(prints)}
        seconds = time.process_time() - start
    wanted = {(("train", at), ("val", len(val) + n)) for n, at in enumerate(sources)}
    others = sorted(pairs - wanted)
    return {
        "planted": COPIES, "met": len(pairs & wanted), "exact_copies": len(exact_copies(prints)),
        "others": [[str(prints[split][at].path.name) for split, at in pair] for pair in others],
        "seconds_of_cpu": {"reading": round(read, 1), "all": round(seconds, 1)},
    }


def _copy(path: Path, out: Path, rng: np.random.Generator) -> Path:
    """A photo with up to a fifth of each side cut off, at another size, as a JPEG of low quality."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    edges = []
    for length in image.size:
        cut = rng.uniform(0, MOST_CUT)
        before = rng.uniform(0, cut)
        edges.append((int(before * length), int((1 - cut + before) * length)))
    (left, right), (top, low) = edges
    part, scale = image.crop((left, top, right, low)), rng.uniform(*SCALES)
    part.resize((max(int(part.width * scale), 32), max(int(part.height * scale), 32))).save(
        out, quality=QUALITY
    )
    return out


def people_met(root: Path, weights: str, seed: int) -> dict[str, Any]:
    """How many photos among another person's, and people in two folders, are met, of 600 people."""
    from apps.engine.inference.pooled import features_of, pooled_model
    from apps.faces.checks import identity_problems, unit
    from datasets.faces.identities import Identities

    photos = [photo for photo in Identities(root).photos if photo.label < PEOPLE]
    paths, true = [photo.path for photo in photos], np.array([photo.label for photo in photos], np.int64)
    features = features_of(pooled_model(weights), paths)
    vectors = np.stack([vector for vector in features if vector is not None])
    rng, labels = np.random.default_rng(seed), true.copy()
    several = [person for person in range(PEOPLE) if (true == person).sum() >= 4]
    moved = rng.choice(len(true), STRANGERS, replace=False)
    labels[moved] = rng.choice(several, STRANGERS)
    parts = {}
    for number, person in enumerate(rng.choice(several, SPLIT, replace=False).tolist()):
        rows = np.flatnonzero((true == person) & (labels == person))
        labels[rows[len(rows) // 2 :]] = PEOPLE + number
        parts[f"p{person}", f"p{PEOPLE + number}"] = number
    names = [f"p{number}" for number in range(PEOPLE + SPLIT)]
    problems = identity_problems(unit(vectors - vectors.mean(axis=0)), labels, paths, names)
    strange = {move.path for problem in problems["mixed_folders"] for move in problem.moves}
    pairs = {problem.captions for problem in problems["split_people"]}
    return {
        "photos": len(paths), "strangers": len(moved), "named": len(strange),
        "met": len(strange & {paths[n] for n in moved}),
        "split": len(parts), "pairs_named": len(pairs), "pairs_met": len(pairs & parts.keys()),
    }


def boxes_met(root: Path, weights: str, seed: int) -> dict[str, Any]:
    """How many boxes that are taken out, moved by a third or given another class are met."""
    from apps.objects.checks import boxed, doubts
    from apps.objects.detect import detect
    from apps.objects.task import Objects, ObjectsSettings

    splits = [Objects(ObjectsSettings(data=root)).check_dataset(split) for split in ("train", "val")]
    photos, classes = [photo for images in splits for photo in boxed(images)], splits[0].classes
    lines = list(detect([photo.path for photo in photos], weights, threshold=0.6))
    rng, results = np.random.default_rng(seed), {}
    large = [
        (at, n) for at, photo in enumerate(photos) for n, item in enumerate(photo.objects)
        if not item.ignored and _share(item.box, photo.width, photo.height) >= 0.1
    ]
    for kind in ("missing", "misplaced", "wrong_class"):
        named = {(at, problem.boxes[0]) for at, line in enumerate(lines)
                 for name, problem in doubts(photos[at], classes, line["objects"]) if name.endswith(kind)}
        met = more = 0
        for at, n in (large[place] for place in rng.choice(len(large), BOXES, replace=False)):
            objects = list(photos[at].objects)
            x1, y1, x2, y2 = objects[n].box
            if kind == "missing":
                del objects[n]
            elif kind == "misplaced":
                step = (x2 - x1) * 0.35 * (1 if x2 + (x2 - x1) * 0.35 <= photos[at].width else -1)
                objects[n] = replace(objects[n], box=(x1 + step, y1, x2 + step, y2))
            else:
                objects[n] = replace(objects[n], label=(objects[n].label + 1) % len(classes))
            changed = replace(photos[at], objects=tuple(objects))
            new = [problem for name, problem in doubts(changed, classes, lines[at]["objects"])
                   if name.endswith(kind) and (at, problem.boxes[0]) not in named]
            met, more = met + bool(new), more + max(len(new) - 1, 0)
        results[kind] = {"planted": BOXES, "met": met, "more": more, "named_without": len(named)}
    return {"photos": len(photos), "large_boxes": len(large), **results}


def _share(box: Sequence[float], width: float, height: float) -> float:
    """Of a photo that a box takes."""
    return (box[2] - box[0]) * (box[3] - box[1]) / max(width * height, 1)
