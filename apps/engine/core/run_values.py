"""What a run says of itself, held against its weights; nothing here imports torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apps.engine.core.files import sha256_of

MODEL, CONFIG = "model.safetensors", "config.json"
EXPORTED = "model.onnx"  # the network of MODEL, for those that answer without torch
TABLES = ("settings", "calibration", "backbone")


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
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        plain = all(isinstance(values.get(name, {}), dict) for name in TABLES)
        made_by = str(values["app"])
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise damaged(path) from err
    if not plain:
        raise ValueError(f"{path} is damaged: {', '.join(TABLES)} must be tables; restore it")
    if app is not None and made_by != app:
        raise ValueError(f"{run} is a run of {made_by!r}, not of {app!r}")
    if weights and values.get("model_sha256") != sha256_of(run / MODEL):
        raise ValueError(
            f"{run / MODEL} is not the file that {CONFIG} describes: cut off, changed, or a crash between "
            "the two; copy the run again, or go on with `finetune --resume`"
        )
    return values


def damaged(config: Path) -> ValueError:
    """The error of a configuration that cannot be read."""
    return ValueError(f"{config} is damaged, or lacks a key; restore it or train again")
