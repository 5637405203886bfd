"""Clusters of faces against who they are: BCubed, mixed clusters, people who are whole."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from apps.faces.people.agglomerate import Bonds, Labels
from apps.faces.people.cluster import NOBODY, cluster_vectors

WHOLE = 10  # photos of a person who counts as whole or in parts


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--vectors F --threshold T``, or ``--table F --people DIR``."""
    parser.add_argument("--vectors", type=Path, help=".npz with the arrays name (PERSON/PHOTO) and vector")
    parser.add_argument("--table", type=Path, help="table of embed-faces")
    parser.add_argument(
        "--people", type=Path, help="folder with a folder a person; each other face is a person of its own"
    )
    parser.add_argument("--threshold", type=float, help="of one comparison  [default: the model's]")


def run(options: argparse.Namespace) -> None:
    """Print one JSON object.

    Raises:
        ValueError: neither vectors nor a table are named, or no threshold is known.
    """
    if options.table is not None:
        vectors, people, bonds, threshold = _of_table(options)
    elif options.vectors is not None and options.threshold is not None:
        with np.load(options.vectors) as file:
            vectors = file["vector"].astype(np.float32)
            people = [str(name).split("/")[0] for name in file["name"]]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        bonds, threshold = Bonds.none(len(vectors)), options.threshold
    else:
        raise ValueError("give --table F --people DIR, or --vectors F --threshold T")
    began = time.process_time()
    labels = cluster_vectors(vectors, threshold, bonds=bonds).labels
    seconds = time.process_time() - began
    true = np.unique(people, return_inverse=True)[1]
    print(json.dumps({  # noqa: T201
        "faces": len(labels), "threshold": round(threshold, 4), **bcubed(labels, true),
        **_mixed(labels, people), "seconds_cpu": round(seconds, 1),
    }))


def _of_table(options: argparse.Namespace) -> tuple[Any, list[str], Bonds, float]:
    from apps.faces.people.gallery import Gallery
    from apps.faces.verification.thresholds import find_threshold

    gallery = Gallery.open(options.table)
    rows = gallery.rows(range(len(gallery)))
    known = options.people.absolute() if options.people else None
    people = []
    for face in rows:
        path = Path(face.path)
        inside = known is not None and path.is_relative_to(known) and not face.face
        people.append(path.parent.name if inside else f"{face.path}#{face.face}")
    photo = np.unique([face.path for face in rows], return_inverse=True)[1].astype(np.int64)
    about = gallery.about
    limit = find_threshold(about.model, about.align, threshold=options.threshold)
    vectors = gallery.vectors(np.arange(len(gallery)))
    return vectors, people, Bonds(np.arange(len(gallery)), [], photo), limit.similarity


def bcubed(labels: Labels, people: Labels) -> dict[str, float]:
    """Precision, recall and F of clusters, each face weighing the same; -1 is a cluster of one face.

    Source: Amigo et al. 2009, "A comparison of extrinsic clustering evaluation metrics".
    """
    whole = labels.copy()
    alone = whole == NOBODY
    whole[alone] = whole.max(initial=NOBODY) + 1 + np.arange(int(alone.sum()))
    pairs = whole * (int(people.max()) + 1) + people
    _, where, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    common = counts[where]
    precision = float((common / np.bincount(whole)[whole]).mean())
    recall = float((common / np.bincount(people)[people]).mean())
    score = 2 * precision * recall / (precision + recall)
    return {"bcubed_f": round(score, 4), "precision": round(precision, 4), "recall": round(recall, 4)}


def _mixed(labels: Labels, people: list[str]) -> dict[str, int]:
    """Clusters of several people, and people with many photos who are in one cluster."""
    named = np.array(people)
    clusters = [set(named[labels == label]) for label in np.unique(labels[labels != NOBODY])]
    many = [name for name, count in Counter(people).items() if count >= WHOLE]
    theirs = [set(labels[named == name].tolist()) for name in many]
    whole = [numbers for numbers in theirs if len(numbers) == 1 and NOBODY not in numbers]
    return {
        "clusters": len(clusters), "mixed": sum(len(names) > 1 for names in clusters),
        "people_with_10_photos": len(many), "whole": len(whole),
    }
