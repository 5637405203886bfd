"""``evaluate attributes``: a run, the face network's own gender head, or a table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.data import attribute_split, decided, distilled_columns, evaluation_of
from apps.attributes.emulation import emulation
from apps.attributes.evaluator import AttributeEvaluation
from apps.attributes.labels import is_labelled, labelled_names
from apps.attributes.names import Layout, listed
from apps.attributes.report import write_report
from apps.attributes.task import Attributes, AttributesSettings
from apps.attributes.teachers import FACE_NETWORK, Oracle, asked, load_oracle
from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.engine.core.run_dir import read_config
from apps.engine.reporting.tolerant import METRICS_COMPLETE, try_report
from datasets.described.label_tables import label_names, read_label_table
from datasets.multilabel import MultiLabelDataset

ALL = "all"


def evaluate_run(
    checkpoint: Path, *, data: Path | None = None, table: Path | None = None, split: str = "val",
    teacher: str | None = None, report: Path | None = None, workers: int | None = None,
    precision: str = "auto", engine: str = "auto", device: str = "auto", console: Console,
) -> dict[str, Any]:
    """The figures of a run on one split.

    Args:
        checkpoint: the run's folder.
        data: images; the run's own by default.
        table: of their attributes; the run's, or the one in ``data``, by default.
        split: ``val``, ``train`` or, of other data, ``all``.
        teacher: as of ``finetune``: the run's answers are held against its, too.
        report: folder to write ``report.html`` into.
        workers: reading processes.
        precision: ``auto``, ``fp32`` or ``bf16``.
        engine: that computes; see :class:`apps.engine.inference.predictor.Predictor`.
        device: see there.
        console: where words and progress go.

    Returns:
        ``{"app", "n", "metrics", "intervals", "groups", "skipped", "evaluated_by"}``, the last ``labels``, or
        ``teacher`` where there are none, and with a teacher ``"teacher"``, see
        :func:`emulation`.

    Raises:
        OSError: data, run or teacher are missing.
        ValueError: the table has other columns than the checkpoint, or the teacher knows none of them.
    """
    config = read_config(checkpoint, app=Attributes.name)
    known = AttributesSettings.__dataclass_fields__
    kept = {key: value for key, value in config.settings.items() if key in known}
    changes = {} if data is None else {"data": data, "table": table}
    changes |= {} if table is None else {"table": table}
    settings = AttributesSettings(**(kept | changes))
    settings = replace(settings, teacher=None if is_labelled(settings) else teacher or settings.teacher)
    oracle = load_oracle(
        str(checkpoint), precision=precision, engine=engine, device=device, say=console.say
    )
    photos = _photos(settings, split, config.classes, console, lenient=bool(config.settings.get("teacher")))
    thresholds = config.calibration.get("thresholds", {})
    result, skipped, answers = _evaluate(oracle, photos, thresholds, workers, console)
    title = f"attributes: {config.backbone.name}"
    if settings.teacher is not None:
        title += ", evaluated by its teacher's decisions"
    answer = _answer(result, report, title, skipped, console)
    answer["evaluated_by"] = "labels" if settings.teacher is None else "teacher"
    if teacher is not None:
        layout = Layout.of(photos.classes)
        trained = distilled_columns(replace(settings, teacher=teacher), photos, layout, console)
        rows = {str(photo.path): n for n, photo in enumerate(photos.photos)}
        answer["teacher"] = emulation(answers, trained[[rows[path] for path in result.paths]], layout)
    return answer


def evaluate_weights(
    weights: str, *, data: Path, table: Path | None = None, split: str = "val", report: Path | None = None,
    workers: int | None = None, console: Console,
) -> dict[str, Any]:
    """The figures of the face network's own heads on the attributes that it and the table have.

    Args and returns: as of :func:`evaluate_run`; there are no chosen thresholds.
    """
    oracle = load_oracle(FACE_NETWORK + weights.removeprefix(FACE_NETWORK))
    columns = labelled_names(data, table)
    shared = tuple(
        class_name for class_name in oracle.layout.classes if class_name.partition(":")[0] in columns
    )
    if not shared:
        raise ValueError(f"{weights} knows {listed(oracle.layout.classes)}, the labels {listed(columns)}")
    photos = _photos(AttributesSettings(data=data, table=table), split, shared, console)
    result, skipped, _ = _evaluate(oracle, photos, {}, workers, console)
    return _answer(result, report, f"attributes: {Path(weights).name}", skipped, console)


def evaluate_predictions(
    predictions: Path, *, data: Path, table: Path | None = None, split: str = ALL,
    report: Path | None = None, console: Console,
) -> dict[str, Any]:
    """The figures of any system's probabilities, a table like that of the labels.

    Args and returns: as of :func:`evaluate_run`; thresholds are chosen and evaluated on halves of the people.

    Raises:
        ValueError: the tables share no attribute, or an image has no prediction.
    """
    layout, columns = _shared(predictions, labelled_names(data, table))
    answer = read_label_table(predictions, names=columns, soft=True)
    photos = _photos(AttributesSettings(data=data, table=table), split, layout.classes, console)
    rows = {image: n for n, image in enumerate(answer.images)}
    keys = [_key(photo.path, rows) for photo in photos.photos]
    lacking = [photo.path for photo, key in zip(photos.photos, keys, strict=True) if key is None]
    if lacking:
        raise ValueError(f"{predictions} has no row for {len(lacking)} photos, such as {lacking[0]}")
    values = answer.values[[rows[key] for key in keys if key is not None]]
    paths = [str(photo.path) for photo in photos.photos]
    result = evaluation_of(values, photos.columns, layout, paths, owners=photos.owners)
    return _answer(result, report, f"attributes: {predictions.name}", 0, console, result.crossed())


def _shared(predictions: Path, labels: Sequence[str]) -> tuple[Layout, list[str]]:
    """What a table of probabilities and the labels both have, and its columns in the table.

    Raises:
        ValueError: there is nothing.
    """
    reported = Layout.of_columns(label_names(predictions))
    layout = Layout(
        tuple(name for name in reported.names if name in labels),
        {name: count for name, count in reported.groups.items() if name in labels},
    )
    if not layout.width:
        raise ValueError(f"{predictions} has {listed(reported.classes)}, the labels {listed(labels)}")
    return layout, list(layout.columns)


def _key(path: Path, rows: dict[str, int]) -> str | None:
    """The longest end of a path that a table names."""
    ends = ("/".join(path.parts[n:]) for n in range(1, len(path.parts)))
    return next((end for end in ends if end in rows), None)


def _photos(
    settings: Any, split: str, classes: tuple[str, ...], console: Console, *, lenient: bool = False
) -> MultiLabelDataset:
    result = attribute_split(settings, split, classes=classes, lenient=lenient, console=console)
    for note in result.notes:
        console.warn(note)
    if split == "train" and not is_labelled(settings):
        return result.learning(decided(result.columns, Layout.of(result.classes)))
    return result


def _evaluate(
    oracle: Oracle,
    photos: MultiLabelDataset,
    thresholds: dict[str, float],
    workers: int | None,
    console: Console,
) -> tuple[AttributeEvaluation, int, NDArray[np.float32]]:
    """Answers beside the labels, images that cannot be read left out, how many, and the answers."""
    paths = [photo.path for photo in photos.photos]
    layout = Layout.of(photos.classes)
    with console.track("photos", -(-len(paths) // 32)) as update:
        answer = asked(
            oracle, paths, workers=workers, on_step=lambda n: update(n, "batches"),
            on_bad=lambda reason: console.warn(f"skipped: {reason}"),
        )
    there = np.array([bool(np.isfinite(row).all()) for row in answer], bool)
    moved = layout.taken(answer, oracle.layout, "the network")
    kept = [str(path) for path, ok in zip(paths, there.tolist(), strict=True) if ok]
    result = evaluation_of(
        moved[there], photos.columns[there], layout, kept, thresholds, owners=photos.owners
    )
    return result, int((~there).sum()), moved[there]


def _answer(
    evaluation: AttributeEvaluation, report: Path | None, title: str, skipped: int, console: Console,
    cross_validated: dict[str, float] | None = None,
) -> dict[str, Any]:
    if report is not None:
        writable_folder(report, "--report")
        try_report(lambda: write_report(
            report, evaluation, title=title, cross_validated=cross_validated
        ), console, METRICS_COMPLETE)
    return {
        "app": Attributes.name,
        "n": len(evaluation.paths),
        "metrics": evaluation.metrics() | (cross_validated or {}),
        "intervals": evaluation.intervals(),
        "groups": evaluation.breakdown(),
        "skipped": skipped,
    }
