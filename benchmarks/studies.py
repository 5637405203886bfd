"""Trainings of a study: each in a folder of its own, so that a study that was stopped goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.engine.core.run_dir import CONFIG, TRAINING


def trained(app: str, folder: Path, given: dict[str, Any]) -> None:
    """A finished run in a folder: done already, gone on with, or begun.

    Args:
        app: name of the application.
        folder: of the run.
        given: settings; those of a run that was begun are kept.
    """
    from apps.engine.core.console import Console
    from apps.engine.training.finetune import finetune

    if not (folder / CONFIG).is_file():
        begun = (folder / TRAINING).is_file()
        finetune(app, {} if begun else given, out=folder, resume=begun, console=Console())
