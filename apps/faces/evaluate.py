"""``evaluate faces``: one or several models judged by LFW's protocol and all against all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.files import writable_folder
from apps.faces.embed import Align, FaceModel, Vectors, load_face_model
from apps.faces.intervals import tar_intervals
from apps.faces.protocol import (
    FARS,
    Bools,
    Operating,
    PairFigures,
    all_against_all,
    listed_pairs,
    pair_figures,
    rank1,
)
from apps.faces.trial import Trial, embed_trial, load_trial
from apps.progress import Screen


@dataclass(frozen=True)
class Judged:
    """One model's figures.

    Args:
        name: of its weights, run or file.
        trial: the photos that it gave vectors for, and their pairs.
        vectors: (N, D) of these photos.
        pairs: figures of the pairs.
        points: TAR at each FAR.
        found: rank-1, where people are known.
        intervals: 95 % intervals by the names of the figures.
        cost: mult-adds and parameters; empty where no network was run.
        left_out: photos that gave no vector.
    """

    name: str
    trial: Trial
    vectors: Vectors
    pairs: PairFigures
    points: list[Operating]
    found: float | None
    intervals: dict[str, list[float]]
    cost: dict[str, int]
    left_out: int

    def metrics(self) -> dict[str, float]:
        """The figures by the names of the design; thresholds beside the rates that they belong to."""
        values = {
            "accuracy": self.pairs.accuracy, "accuracy_se": self.pairs.accuracy_se, "auc": self.pairs.auc,
            "eer": self.pairs.eer,
        }
        values |= {f"tar@far={far_name(p.far)}": p.tar for p in self.points}
        values |= {f"threshold@far={far_name(p.far)}": p.threshold for p in self.points}
        return values | ({} if self.found is None else {"rank1": self.found})


def far_name(far: float) -> str:
    """A rate as in the names of figures: ``1e-4``."""
    mantissa, exponent = f"{far:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def evaluate_faces(
    data: Path, *, checkpoints: Sequence[Path] = (), weights: Sequence[str] = (),
    predictions: Sequence[Path] = (), pairs: Path | None = None, folds: Sequence[int] | None = None,
    align: Align = "none", report: Path | None = None, workers: int | None = None, screen: Screen,
) -> list[dict[str, Any]]:
    """The figures of some models on the same photos, in the order: runs, weights, files of vectors.

    Args:
        data: photos to judge by; see :func:`apps.faces.trial.load_trial`.
        checkpoints: runs of ``finetune faces``.
        weights: face weights.
        predictions: ``.npz`` files with ``name`` and ``vector``, such as a teacher's.
        pairs: LFW's list, where it lies elsewhere.
        folds: of LFW's; None for all.
        align: how faces are cut out; ``none`` for data that is face crops already.
        report: folder for ``report.html`` and its plots.
        workers: threads that read and detect; None takes the cores.
        screen: where words and progress go.

    Returns:
        ``{"app", "model", "n", "metrics", "intervals", "cost", "skipped"}`` a model.

    Raises:
        OSError: data or a model is missing, or the report cannot be written.
        ValueError: no model is given, a file is damaged, or there is too little to compare.
    """
    if not (checkpoints or weights or predictions):
        raise ValueError("give --checkpoint RUN, --weights W or --predictions F, at least one")
    if report is not None:
        writable_folder(report, "--report")
    trial = load_trial(data, pairs=pairs, folds=folds)
    for note in trial.notes:
        screen.warn(note)
    threads = workers or os.cpu_count() or 1
    judged = []
    for run, spec in [*((run, None) for run in checkpoints), *((None, spec) for spec in weights)]:
        model = load_face_model(weights=spec, checkpoint=run)
        screen.say(f"{run or model.info.name} on {len(trial.names)} photos, {len(trial.first)} pairs")
        vectors, gone = embed_trial(trial, model, align=align, workers=threads, screen=screen)
        judged.append(judge(str(run or model.info.name), trial, vectors, gone, cost_of(model)))
    for file in predictions:
        judged.append(judge(file.stem, trial, *read_vectors(file, trial.names), {}))
    if report is not None:
        from apps.faces.report import write_report

        write_report(report, judged, data)
    return [
        {
            "app": "faces", "model": one.name, "n": len(one.vectors), "metrics": one.metrics(),
            "intervals": one.intervals, "cost": one.cost, "skipped": one.left_out,
        }
        for one in judged
    ]


def judge(name: str, trial: Trial, vectors: Vectors, gone: Bools, cost: dict[str, int]) -> Judged:
    """The figures of vectors, less the photos that gave none.

    Raises:
        ValueError: a vector is not finite, or what is left is too little to compare.
    """
    if not np.isfinite(vectors[~gone]).all():
        raise ValueError(f"{name} gives vectors that are not finite for {trial.names[0]} and others")
    left, vectors = trial.without(gone), vectors[~gone]
    similarities = np.einsum("nd,nd->n", vectors[left.first], vectors[left.second]).astype(np.float64)
    pairs = pair_figures(similarities, left.same, left.folds)
    half, skipped = 1.96 * pairs.accuracy_se, int(gone.sum())
    intervals = {"accuracy": [pairs.accuracy - half, min(1.0, pairs.accuracy + half)]}
    if left.people is None:
        points = listed_pairs(similarities, left.same, FARS)
        return Judged(name, left, vectors, pairs, points, None, intervals, cost, skipped)
    points = all_against_all(vectors, left.people)
    spread = tar_intervals(vectors, left.people, points)
    intervals |= {f"tar@far={far_name(far)}": between for far, between in spread.items()}
    found = rank1(vectors, left.people)
    return Judged(name, left, vectors, pairs, points, found, intervals, cost, skipped)


def cost_of(model: FaceModel) -> dict[str, int]:
    """Mult-adds and parameters of a network at its resolution."""
    from backbone.cost import cost

    total = cost(model.network, model.info.resolution)
    return {"mult_adds": total.mult_adds, "parameters": total.parameters}


def read_vectors(file: Path, names: Sequence[str]) -> tuple[Vectors, Bools]:
    """Vectors by name from a ``.npz`` file, brought to length 1, and which names it lacks.

    Args:
        file: with the arrays ``name`` and ``vector``.
        names: without suffixes, which are not compared.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has none of the names.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; give a .npz file with the arrays name and vector")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            known, vectors = arrays["name"].tolist(), arrays["vector"].astype(np.float32)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    except (ValueError, KeyError, OSError, EOFError) as err:
        raise ValueError(f"{file} is no .npz file with the arrays name and vector ({err})") from err
    rows = {str(Path(name).with_suffix("")): row for row, name in enumerate(known)}
    found = np.array([rows.get(name, -1) for name in names])
    if len(known) != len(vectors) or (found < 0).all():
        raise ValueError(f"{file} has a vector for none of the photos, such as {names[0]}")
    return (vectors / np.maximum(lengths, 1e-12))[found], found < 0
