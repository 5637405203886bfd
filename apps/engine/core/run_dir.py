"""A run's folder: the model, what it is, and what training needs to go on."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save
from torch import nn

from apps.engine.core import run_values as about
from apps.engine.core.files import json_line, read_object, sha256_of, write_bytes, write_json
from backbone import WeightsInfo
from backbone.schema import TEXT, TEXTS, checked_some, number, parse_json
from backbone.weights_files import read_safetensors
from datasets.outside import full_disk_named, regular_file, words_of

MODEL, CONFIG = about.MODEL, about.CONFIG
TRAINING, METRICS = "training.pt", "metrics.jsonl"
BEST, PROGRESS = "best.safetensors", "progress.json"
STATE_VERSION = 3  # of training.pt
_COUNT = number(0, 2**53, whole=True)
STATE = {
    "settings": TEXT, "classes": TEXTS, "epoch": _COUNT, "step": _COUNT, "photos": _COUNT, "world": _COUNT,
}


class Calibration(TypedDict, total=False):
    """What is fitted on validation images once a training is over.

    ``temperature`` divides logits; ``unknown`` is the rule for images of nothing known; ``thresholds`` are by
    name; ``faces`` holds thresholds by way of alignment; ``fitted_on`` and ``photos`` say which images and
    how many.
    """

    temperature: float
    unknown: dict[str, Any]
    thresholds: dict[str, float]
    faces: dict[str, Any]
    fitted_on: str
    photos: int


@dataclass(frozen=True)
class RunConfig:
    """What ``config.json`` holds: all that is needed to use the model rightly.

    Args:
        app: name of the application that made the run.
        classes: names of the classes, in the order of the outputs.
        settings: the settings as resolved, plain types.
        backbone: architecture, preprocessing and provenance of the backbone.
        fingerprint: of the backbone's state; heads with the same one share a backbone.
        calibration: temperature, rule for the unknown, and on what they were fitted.
        metrics: of the validation images; in the file one that is undefined or has no bound is null.
        data: which images it learned from, in words and counts.
        versions: of the libraries.
        intervals: 95 % intervals of the metrics that have one.
        seconds: that the training took.
        precision: ``asked``; in what the ``backbone`` was trained, the ``heads`` were trained and the
            ``answers`` were computed; ``fp32_repeats``, updates done again in fp32. Empty in older runs.
    """

    app: str
    classes: tuple[str, ...]
    settings: dict[str, Any]
    backbone: WeightsInfo
    fingerprint: str
    calibration: Calibration = field(default_factory=Calibration)
    metrics: dict[str, float | None] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    seconds: float | None = None
    precision: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self) | {"classes": list(self.classes), "backbone": self.backbone.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of :meth:`to_dict`; keys of later versions are left aside."""
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        return cls(**{**known, "classes": tuple(known["classes"]),
                      "backbone": WeightsInfo.from_dict(known["backbone"])})


def save_checkpoint(run: Path, model: nn.Module, config: RunConfig) -> None:
    """Write the model and its configuration; a crash leaves the old pair or is noticed at reading."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_bytes(run / MODEL, save(state))
    write_json(run / CONFIG, config.to_dict() | {"model_sha256": sha256_of(run / MODEL)})


def read_config(run: Path, *, app: str | None = None) -> RunConfig:
    """The configuration of a run, checked; raises as :func:`about.run_values` does."""
    values = about.run_values(run, app=app)
    try:
        return RunConfig.from_dict(values)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise about.damaged(run / CONFIG) from err


def load_model_state(run: Path, model: nn.Module) -> None:
    """Put a run's tensors into a model built for it."""
    state, _ = read_safetensors(run / MODEL)
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        raise ValueError(
            f"{run / MODEL} does not fit the classes and backbone of {CONFIG}; restore the two together"
        ) from err


def save_training_state(run: Path, state: dict[str, Any]) -> None:
    """All that training needs to go on, in one file, so that it is whole or the one before.

    Raises:
        OSError: the disk is full or cannot be written; the state before stays.
    """
    buffer = io.BytesIO()  # writing to the disk is then one step that fails as files do, with an OSError
    torch.save(state, buffer)
    write_bytes(run / TRAINING, buffer.getbuffer())


def load_training_state(run: Path) -> dict[str, Any]:
    """What :func:`save_training_state` wrote.

    Raises:
        FileNotFoundError: the run has none.
        ValueError: the file is damaged.
    """
    path = run / TRAINING
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, so there is nothing to resume; leave --resume out")
    try:
        state: dict[str, Any] = torch.load(regular_file(path), weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no table")
    except FileNotFoundError:
        raise
    except Exception as err:  # torch follows a damaged file's numbers
        raise ValueError(
            f"{path} is damaged ({words_of(err)}), so this run cannot go on; train into another --out"
        ) from err
    if state.get("version") != STATE_VERSION:
        raise ValueError(
            f"{path} was written by another version of this program (state {state.get('version')}, not "
            f"{STATE_VERSION}); go on with that version, or train into another --out"
        )
    try:
        checked_some(state, STATE, "it", needed=tuple(STATE))
        checked_some(parse_json(state["settings"], "its settings"), {}, "its settings")
    except ValueError as err:
        raise ValueError(
            f"{path} is damaged ({err}), so this run cannot go on; train into another --out"
        ) from err
    return state


def save_best(run: Path, state: dict[str, torch.Tensor]) -> None:
    """Keep the weights of the best epoch so far beside the run."""
    data = save({name: value.contiguous() for name, value in state.items()})
    write_bytes(run / BEST, data)


def load_best(run: Path, model: nn.Module) -> None:
    """Put the weights of the best epoch into the model.

    Raises:
        OSError: the file is missing.
        ValueError: the file is damaged.
    """
    state, _ = read_safetensors(run / BEST)
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        raise ValueError(f"{run / BEST} is not of this run; train into another --out") from err


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add a line to ``metrics.jsonl``, whole or not at all."""
    path = run / METRICS
    before = path.stat().st_size if path.exists() else None
    try:
        with full_disk_named(path), path.open("a", encoding="utf-8") as file:
            file.write(json_line(row) + "\n")
    except OSError:
        if before is not None:
            os.truncate(path, before)
        else:
            path.unlink(missing_ok=True)
        raise


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, oldest first; none where there is no such file.

    A last line that a crash cut off is left out: its epoch is evaluated again when the run goes on.
    """
    path = run / METRICS
    if not path.is_file():
        return []
    text = regular_file(path).read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    rows = []
    for row, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as err:
            if row < len(lines):
                raise ValueError(f"{path}: line {row} is no JSON; mend or remove it") from err
    return rows


def write_progress(run: Path, values: dict[str, Any]) -> None:
    """How far the training is, for those who look on; see ``apps/engine/tracking/runs.py``."""
    write_json(run / PROGRESS, values)


def finish_progress(run: Path) -> None:
    """Say that the training is over, and no longer which process of which machine did it."""
    of_process = ("pid", "machine", "host", "settings")
    kept = {name: value for name, value in read_progress(run).items() if name not in of_process}
    write_progress(run, kept | {"state": "finished"})


def read_progress(run: Path) -> dict[str, Any]:
    """What :func:`write_progress` wrote last; nothing where there is no such file or it is damaged."""
    try:
        return read_object(run / PROGRESS)
    except (OSError, ValueError):
        return {}
