"""``evaluate places``: a run, or anybody's predictions, evaluated by where images were taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core import run_dir as runs
from apps.engine.core.console import Console
from apps.engine.core.files import defined, writable_file, writable_folder
from apps.engine.core.model import load_run
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.settings import portable
from apps.engine.data.loader import Loader, eval_loader
from apps.engine.evaluation.evaluate import BATCH, evaluate_split
from apps.engine.evaluation.forward import evaluated_by
from apps.engine.reporting.tolerant import METRICS_COMPLETE, try_report
from apps.engine.training.finalize import facts
from apps.places.cells.files import check_same_cells, fingerprint, read_cells
from apps.places.cells.names import grids_of
from apps.places.evaluator import PlaceEvaluation, country_figure
from apps.places.geo_metrics import GeoPredictions, geo_intervals, geo_metrics
from apps.places.prediction_files import read_predictions, write_predictions
from datasets.geo.geotags import read_folder
from datasets.geo.position_tables import read_positions
from datasets.geo.positions import Positions
from heads import MultiHead

SPLITS = ("val", "train", "all")


def evaluate_run(
    run: Path, *, data: Path | None = None, split: str | None = None, cells: Path | None = None,
    least: float = 0.0, ten_crop: bool = False, baselines: bool = True, report: Path | None = None,
    predictions_to: Path | None = None, workers: int | None = None, precision: str = "auto",
    engine: str = "auto", device: str = "auto", console: Console,
) -> dict[str, Any]:
    """The figures of a run on images whose positions are known.

    Args:
        run: the folder that ``finetune places`` wrote.
        data: images or a table; the run's own by default.
        split: ``val``, ``train`` or ``all``; by default val of the run's own data, all of other data.
        cells: a file that must hold the run's cells.
        least: confidence below which the model abstains, 0 to 1.
        ten_crop: average over ten views of each image.
        baselines: evaluate the most frequent cell, and the nearest image by features, beside it.
        report: folder for ``report.html``.
        predictions_to: CSV to write the answers into.
        workers: reading processes.
        precision: ``auto``, ``fp32`` or ``bf16``.
        engine: that computes; see :class:`apps.engine.inference.predictor.Predictor`.
        device: see there.
        console: where words and progress go.

    Returns:
        ``{"app", "n", "metrics", "intervals", "baselines", "skipped"}``; an undefined figure is None.

    Raises:
        OSError: data or run are missing, or an output cannot be written.
        ValueError: the run is damaged or has other cells.
    """
    custom = runs.read_config(run, app="places").settings.get("data")
    other = data is not None and portable(str(Path(data).absolute())) != custom
    task, model, config = load_run(run, app="places", **({} if data is None else {"data": data}))
    if cells is not None:
        check_same_cells(read_cells(cells), fingerprint(grids_of(config.classes)), str(run))
    _check_outputs(report, predictions_to)
    split = split or ("all" if other else "val")
    forward = evaluated_by(
        str(run), tta="ten" if ten_crop else None, say=console.say, precision=precision, engine=engine,
        device=device,
    )

    def answer(images: Any) -> dict[str, Any]:
        """The mean of several offsets may lie far from all of them: ten crops are answered by their cell."""
        return {name: v for name, v in forward(images).items() if not (ten_crop and name == "offset")}

    answers, skipped = evaluate_split(task, answer, config, split, workers, console)
    answers = replace(answers, least=least)
    beside = _baselines(task, model, config, answers, workers, console) if baselines and not other else {}
    if predictions_to is not None:
        write_predictions(predictions_to, answers.geo)
    if report is not None:
        from apps.places.report import write_places_report

        try_report(lambda: write_places_report(
            report, f"Places: {config.backbone.name}, {split}", answers.geo, facts(config),
            history=runs.read_metrics(run), answers=answers, baselines=beside,
        ), console, METRICS_COMPLETE)
    return _answer(answers.geo, answers.metrics(), beside, skipped)


def _check_outputs(report: Path | None, predictions_to: Path | None) -> None:
    """Make the folders of what will be written, or refuse them, before any image is read."""
    if report is not None:
        writable_folder(report, "--report")
    if predictions_to is not None:
        writable_file(predictions_to, "--write-predictions")


def evaluate_predictions(
    file: Path, *, data: Path | None = None, report: Path | None = None, console: Console
) -> dict[str, Any]:
    """The figures of any system's predictions; ``data`` tells the truth where the file does not.

    Returns:
        as :func:`evaluate_run`, with ``skipped``, lines that are no answers, and ``without_prediction``,
        images that count as wrong because there is no answer.
    """
    read = read_predictions(file, None if data is None else _truth(data, console))
    for note in read.notes:
        console.warn(note)
    geo = read.geo
    if report is not None:
        from apps.places.report import write_places_report

        folder = writable_folder(report, "--report")
        try_report(lambda: write_places_report(
            folder, f"Places: {file.name}", geo, {"predictions": str(file)}
        ), console, METRICS_COMPLETE)
    metrics = geo_metrics(geo) | {"country_accuracy": country_figure(geo)}
    return _answer(geo, metrics, {}, read.skipped) | {"without_prediction": int((~geo.answered).sum())}


def _truth(data: Path, console: Console) -> Positions:
    """Positions by the names of images, from a folder or a table; a table's images need not be there."""
    truth = read_folder(data) if data.is_dir() else read_positions(data)
    for remark in truth.remarks():
        console.warn(remark)
    if not truth.paths:
        raise ValueError(f"{data} has no column path, so its rows name no photos; add one with their names")
    return truth


def _answer(
    geo: GeoPredictions, metrics: dict[str, float], beside: dict[str, GeoPredictions], skipped: int
) -> dict[str, Any]:
    results = {
        name: {"metrics": defined(geo_metrics(value)), "intervals": defined(geo_intervals(value))}
        for name, value in beside.items()
    }
    return {
        "app": "places", "n": len(geo.paths), "metrics": defined(metrics),
        "intervals": defined(geo_intervals(geo)),
        **({"baselines": results} if results else {}), "skipped": skipped,
    }


def _baselines(
    task: Any,
    model: MultiHead,
    config: RunConfig,
    answers: PlaceEvaluation,
    workers: int | None,
    console: Console,
) -> dict[str, GeoPredictions]:
    """The most frequent cell for every image; the place of the training image with the nearest features."""
    grid, count = answers.grid, len(answers.paths)
    most = int(grid.weights.argmax())
    truth = answers.true_lat, answers.true_lon
    results = {"most_frequent_cell": GeoPredictions(
        np.full(count, grid.lat[most]), np.full(count, grid.lon[most]), *truth, answers.paths
    )}
    known = features_of(task, model, config, "train", workers, console)
    asked = features_of(task, model, config, "val", workers, console)
    if len(asked[0]) != count or asked[3] != answers.paths:
        return results
    nearest = (asked[0] @ known[0].T).argmax(axis=1)
    results["nearest_features"] = GeoPredictions(known[1][nearest], known[2][nearest], *truth, answers.paths)
    return results


def features_of(
    task: Any, model: MultiHead, config: RunConfig, split: str, workers: int | None, console: Console
) -> tuple[Any, Any, Any, tuple[str, ...]]:
    """Features (N, C) of length 1, latitudes, longitudes and paths of the images of a split."""
    from apps.engine.training.frozen.features import pooled_features
    from apps.engine.training.loop import rate

    photos = task.dataset(split, classes=config.classes)
    loader: Loader = eval_loader(photos, config.backbone.preprocessing, batch_size=BATCH, workers=workers)
    backbone: Any = model.backbone
    with console.track(f"features of {split}", len(loader)) as update:
        features, targets, indices, bad = pooled_features(
            backbone, loader, stride=max(backbone.channels), on_step=lambda n, totals: update(n, rate(totals))
        )
    if split != "val":  # those of val are named where they are evaluated
        for bad_image in bad:
            console.warn(f"skipped: {bad_image.reason}")
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    where = targets["position"].numpy()
    return features, where[:, 0], where[:, 1], photos.paths(indices)
