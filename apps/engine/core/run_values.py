"""What a run says of itself, held against its weights; nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.engine.core.files import read_object, sha256_of
from backbone.schema import INFO, PREPROCESSING, TABLE, TEXT, Rule, checked, finite, number, short

MODEL, CONFIG = "model.safetensors", "config.json"
EXPORTED = "model.onnx"  # the network of MODEL, for those that answer without torch
TABLES = ("settings", "calibration", "backbone", "metrics", "data", "intervals", "versions", "precision")
CALIBRATION: dict[str, Rule] = {
    "temperature": number(1e-6, 1e6), "thresholds": TABLE, "unknown": TABLE, "faces": TABLE,
    "fitted_on": TEXT,
}


def run_values(run: Path, *, app: str | None = None, weights: bool = True) -> dict[str, Any]:
    """What ``config.json`` of a run holds, checked.

    Args:
        run: the folder that ``finetune`` wrote.
        app: the application that it must be of.
        weights: hold it against the weights, too, which reads all of them.

    Raises:
        FileNotFoundError: the folder or one of its two files is missing.
        ValueError: the configuration is damaged, does not belong to the model, or is of another app.
    """
    if run.is_file():
        raise ValueError(f"{run} is a file; give the run's folder, {run.parent}")
    path = run / CONFIG
    for needed in (path, run / MODEL):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is missing; give the folder of a finished run of `finetune`")
    try:
        values = read_object(path)
    except ValueError as err:
        raise damaged(path) from err
    _check(values, path)
    values.setdefault("calibration", {})
    made_by = str(values["app"])
    if app is not None and made_by != app:
        advice = "`predict` takes runs of all applications"
        raise ValueError(f"{run} is a run of {made_by!r}, not of {app!r}; {advice}")
    if weights and values.get("model_sha256") != sha256_of(run / MODEL):
        raise ValueError(
            f"{run / MODEL} is not the file that {CONFIG} describes: cut off, changed, or a crash between "
            "the two; copy the run again, or go on with `finetune --resume`"
        )
    return values


def _check(values: dict[str, Any], path: Path) -> None:
    """Hold what a configuration says against types and bounds, before anything is built from it.

    Raises:
        ValueError: a value is missing, or is of another type or out of bounds.
    """
    try:
        for name in ("app", "fingerprint", "model_sha256"):
            if not isinstance(values.get(name, ""), str):
                raise ValueError(f"{name} must be a text, got {short(values[name])}")
        for name in ("app", "classes", "settings", "backbone"):
            if name not in values:
                raise ValueError(f"it lacks {name}")
        classes = values["classes"]
        if not isinstance(classes, list) or not all(isinstance(item, str) for item in classes):
            raise ValueError(f"classes must be a list of texts, got {short(classes)}")
        for name in TABLES:
            if not isinstance(values.get(name, {}), dict):
                raise ValueError(f"{name} must be a table, got {short(values[name])}")
        backbone = checked(values["backbone"], INFO, "backbone", needed=("name", "preprocessing"))
        checked(backbone["preprocessing"], PREPROCESSING, "preprocessing", needed=("mean", "std"))
        check_calibration(values.get("calibration", {}))
    except ValueError as err:
        raise ValueError(f"{path} is damaged ({err}); restore it or train again") from err


def check_calibration(values: Any) -> None:
    """Refuse a calibration that would make answers of no numbers.

    Raises:
        ValueError: a temperature is not above 0, or a threshold or the rule for the unknown is none.
    """
    known = {name: rule for name, rule in CALIBRATION.items() if name in values}
    checked({name: values[name] for name in known}, CALIBRATION, "calibration")
    for name, value in values.get("thresholds", {}).items():
        if not finite(value):
            raise ValueError(f"the threshold of {name!r} must be a number, got {short(value)}")
    for name, value in values.get("unknown", {}).items():
        if isinstance(value, int | float) and not finite(value):
            raise ValueError(f"the rule for the unknown has no number for {name!r}")


def damaged(config: Path) -> ValueError:
    """The error of a configuration that cannot be read."""
    return ValueError(f"{config} is damaged, or lacks a key; restore it or train again")
