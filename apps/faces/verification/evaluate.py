"""``evaluate faces``: one or several models evaluated by LFW's protocol and all against all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.engine.core.run_dir import read_config
from apps.engine.core.settings import portable
from apps.engine.reporting.tolerant import METRICS_COMPLETE, try_report
from apps.faces.extraction.embedder import Align, Vectors
from apps.faces.extraction.sources import IN_TAR
from apps.faces.extraction.table import read_about, read_batches
from apps.faces.extraction.torch_embedder import TorchFaceModel, load_torch_face_model
from apps.faces.verification.intervals import tar_intervals
from apps.faces.verification.protocol import (
    FARS,
    Bools,
    all_against_all,
    far_name,
    listed_pairs,
    pair_figures,
    rank1,
)
from apps.faces.verification.results import VerificationResult
from apps.faces.verification.thresholds import write_thresholds
from apps.faces.verification.verification_set import (
    VerificationSet,
    embed_verification_set,
    load_verification_set,
)
from backbone.weights import locate_weights
from datasets.arrays import read_arrays
from datasets.outside import one_line


def evaluate_faces(
    data: Path, *, checkpoints: Sequence[Path] = (), weights: Sequence[str] = (),
    predictions: Sequence[Path] = (), teacher: Path | None = None, pairs: Path | None = None,
    folds: Sequence[int] | None = None, align: Align = "none", mirror: bool = False,
    keep_thresholds: bool = False, report: Path | None = None, workers: int | None = None, console: Console,
) -> list[dict[str, Any]]:
    """The figures of some models on the same images, in the order: runs, weights, files of vectors, teacher.

    Args:
        data: validation images; see :func:`apps.faces.verification.verification_set.load_verification_set`.
        checkpoints: runs of ``finetune faces``.
        weights: face weights.
        predictions: ``.npz`` files with ``name`` and ``vector``, such as a teacher's.
        teacher: a file as those of ``predictions``, of whose TAR the others' is given as a share.
        pairs: LFW's list, where it lies elsewhere.
        folds: of LFW's; None for all.
        align: how faces are cut out; ``none`` for data that is face crops already.
        mirror: evaluate on the mean of the vectors of a face and of its mirror image.
        keep_thresholds: write the thresholds found into the runs, for ``verify-faces`` and the like.
        report: folder for ``report.html`` and its plots.
        workers: threads that read and detect; None takes the cores.
        console: where words and progress go.

    Returns:
        ``{"app", "model", "n", "metrics", "intervals", "cost", "skipped"}`` a model.

    Raises:
        OSError: data or a model is missing, or the report cannot be written.
        ValueError: no model is given, a file is damaged, or there is too little to compare.
    """
    if keep_thresholds and (mirror or not checkpoints):
        raise ValueError("--keep-thresholds is for runs, evaluated without --mirror; give --checkpoint RUN")
    if not (checkpoints or weights or predictions or teacher):
        raise ValueError("give --checkpoint RUN, --weights W or --predictions F, at least one")
    if report is not None:
        writable_folder(report, "--report")
    _check_models(checkpoints, weights)
    trial = load_verification_set(data, pairs=pairs, folds=folds)
    for note in trial.notes:
        console.warn(note)
    threads, evaluated = workers or os.cpu_count() or 1, list[VerificationResult]()
    for run, spec in [*((run, None) for run in checkpoints), *((None, spec) for spec in weights)]:
        model = load_torch_face_model(weights=spec, checkpoint=run)
        console.say(f"{run or model.info.name} on {len(trial.names)} photos, {len(trial.first)} pairs")
        if run is not None:
            warn_of_learned(run, data, folds, console)
        model = model.mirrored() if mirror else model
        vectors, gone = embed_verification_set(trial, model, align=align, workers=threads, console=console)
        evaluated.append(evaluate_model(str(run or model.info.name), trial, vectors, gone, cost_of(model)))
    for file in [*predictions, *([] if teacher is None else [teacher])]:
        evaluated.append(evaluate_model(file.stem, trial, *read_vectors(file, trial.names), {}))
    evaluated = evaluated if teacher is None else [beside(result, evaluated[-1]) for result in evaluated]
    if report is not None:
        from apps.faces.verification.report import write_report

        try_report(lambda: write_report(report, evaluated, data), console, METRICS_COMPLETE)
    if keep_thresholds:  # last: a model that is refused leaves every run as it was
        for run, figures in zip(checkpoints, evaluated, strict=False):
            write_thresholds(run, align, figures.points, _source(figures, data, folds))
    return [_line(result) for result in evaluated]


def _check_models(checkpoints: Sequence[Path], weights: Sequence[str]) -> None:
    """Refuse a model that is not there before the first one has worked for minutes."""
    for folder in checkpoints:
        read_config(folder, app="faces")
    for name in weights:
        locate_weights(name)


def _line(result: VerificationResult) -> dict[str, Any]:
    return {
        "app": "faces", "model": result.name, "n": len(result.vectors), "metrics": result.metrics(),
        "intervals": result.intervals, "cost": result.cost, "skipped": result.left_out,
    }


def warn_of_learned(run: Path, data: Path, folds: Sequence[int] | None, console: Console) -> None:
    """Warn of a run evaluated on the folder that it learned from, other than by the folds kept apart."""
    settings = read_config(run, app="faces").settings
    apart = settings.get("val_folds")
    same = settings.get("data") == portable(str(data.absolute()))
    if same and (apart is None or ",".join(map(str, sorted(folds or ()))) != apart.replace(" ", "")):
        better = f"--folds {apart}" if apart else "other faces by --data"
        console.warn(
            f"{run} learned from people in {data}, so these figures flatter it; evaluate with {better}"
        )


def beside(result: VerificationResult, teacher: VerificationResult) -> VerificationResult:
    """The same with its TAR as a share of the teacher's, at the rates that both have."""
    theirs = {point.far: point.tar for point in teacher.points}
    shares = {p.far: p.tar / theirs[p.far] for p in result.points if theirs.get(p.far)}
    return replace(result, shares=shares)


def _source(result: VerificationResult, data: Path, folds: Sequence[int] | None) -> str:
    """On which faces thresholds were measured."""
    reported = "" if folds is None else f", folds {', '.join(map(str, folds))}"
    compared = "the pairs of a list" if result.trial.people is None else "all against all"
    return f"{len(result.vectors)} photos of {data.name}{reported}, {compared}"


def evaluate_model(
    name: str, trial: VerificationSet, vectors: Vectors, gone: Bools, cost: dict[str, int]
) -> VerificationResult:
    """The figures of vectors, less the images that gave none.

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
        return VerificationResult(name, left, vectors, pairs, points, None, intervals, cost, skipped)
    points = all_against_all(vectors, left.people)
    spread = tar_intervals(vectors, left.people, points)
    intervals |= {f"tar@far={far_name(far)}": between for far, between in spread.items()}
    result = rank1(vectors, left.people)
    return VerificationResult(name, left, vectors, pairs, points, result, intervals, cost, skipped)


def cost_of(model: TorchFaceModel) -> dict[str, int]:
    """Mult-adds and parameters of a network at its resolution."""
    from backbone.complexity import cost

    total = cost(model.network, model.info.resolution)
    return {"mult_adds": total.mult_adds, "parameters": total.parameters}


def read_vectors(file: Path, names: Sequence[str]) -> tuple[Vectors, Bools]:
    """Vectors by name from a ``.npz`` file or parts of faces, brought to length 1, and which names it lacks.

    Args:
        file: with the arrays ``name`` and ``vector``; or a folder that ``embed-faces`` wrote, of whose images
            the largest face counts, known by the end of the path.
        names: without suffixes, which are not compared.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has none of the names.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; give a .npz file with the arrays name and vector")
    with one_line(file, "see docs/faces.md", "is no .npz file with the arrays name and vector"):
        arrays = _of_parts(file, names[0]) if file.is_dir() else read_arrays(file, ("name", "vector"))
        known, vectors = arrays["name"].tolist(), arrays["vector"].astype(np.float32)
        if vectors.ndim != 2 or len(known) != len(vectors) or not all(isinstance(n, str) for n in known):
            raise ValueError("expected as many names, which are texts, as vectors")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        first = known[bad[0]]
        raise ValueError(f"{file}: vectors of {len(bad)} photos are not finite, first that of {first}")
    rows = {str(Path(name).with_suffix("")): row for row, name in enumerate(known)}
    result = np.array([rows.get(name, -1) for name in names])
    if (result < 0).all():
        raise ValueError(f"{file} has a vector for none of the photos, such as {names[0]}")
    return (vectors / np.maximum(lengths, 1e-12))[result], result < 0


def _of_parts(folder: Path, like: str) -> dict[str, Any]:
    """The largest faces of parts as arrays; names have as many folders in them as the one that is given."""
    depth, dim = len(Path(like).parts), read_about(folder).model.dim
    names, vectors = list[str](), [np.zeros((0, dim), np.float32)]
    for rows in read_batches(folder, ("path", "face", "vector")):
        largest = rows.filter(pc.equal(rows["face"], 0))
        paths = [Path(path.replace(IN_TAR, "/")) for path in largest["path"].to_pylist()]
        names += ["/".join(path.parts[-depth:]) for path in paths]
        vectors.append(largest["vector"].combine_chunks().flatten().to_numpy().reshape(-1, dim))
    return {"name": np.array(names), "vector": np.concatenate(vectors)}
