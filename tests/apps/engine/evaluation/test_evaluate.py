"""The shared ``evaluate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Cli

from apps.dogs import Dogs


def test_views_are_refused_for_a_task_whose_answers_are_of_one(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged log-softmax of outputs that are no classes would be a wrong figure without a word."""
    run = tmp_path / "run"
    fast = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 8, "--workers", 0)
    assert cli("finetune", "dogs", "--data", colours, *fast, "--out", run).code == 0
    assert cli("evaluate", "dogs", "--checkpoint", run, "--tta", "mirror").code == 0
    monkeypatch.setattr(Dogs, "predict_options", frozenset({"top"}))
    answer = cli("evaluate", "dogs", "--checkpoint", run, "--tta", "mirror")
    assert answer.code == 1
    assert answer.last_error.startswith("error: --tta is not for runs of dogs")
