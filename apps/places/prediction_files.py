"""Predicted positions as CSV: ours written, anybody's read, so that every system is evaluated alike."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from apps.engine.core.files import write_whole
from apps.engine.scale.parts import lines_of
from apps.places.checks import doubts
from apps.places.geo_metrics import GeoPredictions
from apps.places.prediction_columns import pick_columns
from apps.places.prediction_rows import Answers, answer_rows, read_answers, truth_rows
from datasets.geo.position_tables import Table, read_table
from datasets.geo.positions import Positions
from datasets.names import match_names
from datasets.tables import Pick

COLUMNS = ("path", "lat", "lon", "confidence", "true_lat", "true_lon")
NO_ANSWER = "no answer: wrong at every distance, 0 points, and not in median_km and mean_km"


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """What a file of predictions holds.

    Args:
        geo: predictions with their truth; NaN where there is no answer.
        skipped: lines that are no answers.
        notes: sentences on what a user should know.
    """

    geo: GeoPredictions
    skipped: int
    notes: tuple[str, ...]


def write_predictions(path: Path, p: GeoPredictions) -> None:
    """Write predictions with their truth; an abstention has no lat and lon."""
    confidence = np.full(len(p.paths), np.nan) if p.confidence is None else p.confidence
    columns = (p.lat, p.lon, confidence, p.true_lat, p.true_lon)

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for name, *numbers in zip(p.paths, *(column.tolist() for column in columns), strict=True):
                writer.writerow([name, *("" if math.isnan(number) else number for number in numbers)])

    write_whole(path, write)


def read_predictions(path: Path, truth: Positions | None = None) -> PredictionFile:
    """Predictions of any system: a CSV or Parquet table with path, lat and lon, by the names that are in use.

    A folder is of parts that ``locate --out`` wrote, and needs ``truth``.

    Without ``truth`` it must hold true_lat and true_lon, too. An empty position is an abstention, and what
    is no position counts as one. With ``truth`` images are known by their path or the end of it, with or
    without suffix; an image without a prediction counts as an abstention. A CSV without a heading is taken as
    path, lat, lon.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: columns are missing, ambiguous or swapped, there is no answer, or predictions and truth
            name other images.
    """
    if not (path.is_file() or path.is_dir()):
        raise FileNotFoundError(f"{path} is no file; give a CSV with path, lat and lon")
    pick = partial(pick_columns, with_truth=truth is None)
    headless = () if truth is None else ("path", "lat", "lon")
    table = _of_parts(path, pick) if path.is_dir() else read_table(path, pick, headless=headless)
    if len(table) == 0:
        raise ValueError(f"{path} has no predictions; expected one photo a row")
    notes: list[str] = []
    if truth is None:
        rows, left_out = truth_rows(table)
        answers = read_answers(table, rows)
        true_lat, true_lon = table.numbers("true_lat")[rows], table.numbers("true_lon")[rows]
    else:
        rows, left_out = answer_rows(table)
        answers, notes = _joined(path, read_answers(table, rows), truth)
        true_lat, true_lon = truth.lat, truth.lon
    geo = GeoPredictions(answers.lat, answers.lon, true_lat, true_lon, answers.names, answers.confidence)
    return PredictionFile(
        geo, sum(row.count for row in left_out),
        (*_columns(table), *map(str, left_out), *_unanswered(path, answers), *notes, *doubts(geo)),
    )


def _of_parts(folder: Path, pick: Pick) -> Table:
    """The answers of parts as a table; an image that could not be read has none."""
    import pyarrow as pa

    names = pick(folder, ["path", "lat", "lon", "confidence"])
    lines = list(lines_of(folder))
    columns = {key: pa.array([line.get(name) for line in lines]) for key, name in names.items()}
    return Table(folder, columns, np.arange(1, len(lines) + 1), [], names)


def _columns(table: Table) -> list[str]:
    """What the columns were taken for, where that is not plain."""
    name = table.path.name
    if table.headless:
        return [f"{name} has no heading: its columns are taken as {', '.join(table.names)}"]
    taken = [f"{key} is {column}" for key, column in table.names.items() if column != key]
    return [f"{name}: {', '.join(taken)}"] if taken else []


def _unanswered(path: Path, answers: Answers) -> list[str]:
    """How many answers are none, and what they count as."""
    notes = []
    wrong, empty = int(answers.unusable.sum()), int(answers.empty.sum())
    if wrong:
        first = answers.names[int(answers.unusable.argmax())]
        which = f"{wrong} predictions in {path.name}, first that of {first},"
        notes.append(f"{which} are no position; {NO_ANSWER}")
    if empty:
        notes.append(f"{empty} predictions in {path.name} are empty; {NO_ANSWER}")
    return notes


def _joined(path: Path, answers: Answers, truth: Positions) -> tuple[Answers, list[str]]:
    """Answers in the order of the truth, and what does not meet."""
    index = match_names(answers.names, truth.paths)
    if (index < 0).all():
        raise ValueError(
            f"none of the {len(answers.names)} photos in {path} (such as {answers.names[0]}) is among the "
            f"{len(truth.paths)} whose position is known (such as {(*truth.paths, 'none')[0]})"
        )
    notes, lacking = [], index < 0
    if lacking.any():
        first = truth.paths[int(lacking.argmax())]
        notes.append(
            f"{lacking.sum()} of {len(index)} photos, first {first}, have no prediction in {path.name}; "
            f"{NO_ANSWER}"
        )
    used = set(index.tolist())
    strange = [name for row, name in enumerate(answers.names) if row not in used]
    if strange:
        notes.append(
            f"{len(strange)} of {len(answers.names)} predictions in {path.name}, first that of {strange[0]}, "
            "are for photos whose position is not known; not counted"
        )
    return answers.taken(index, truth.paths), notes
