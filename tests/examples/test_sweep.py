"""The recipe for a sweep, run as it stands in the documents, twice: the second time it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

SMALL = ("width=0.25", "resolution=32", "epochs=1", "batch_size=8", "workers=0")


def sweep(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples/sweep.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    done = sweep(tmp_path / "no", tmp_path / "out", 1)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_a_sweep_keeps_its_trials_and_goes_on(colours: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="pip install optuna")
    first = sweep(colours, tmp_path / "out", 2, *SMALL)
    assert first.returncode == 0 and "best of 2: top1" in first.stdout, first.stderr
    again = sweep(colours, tmp_path / "out", 1, *SMALL)
    assert again.returncode == 0 and "best of 3: top1" in again.stdout, again.stderr
    assert len(list((tmp_path / "out").glob("trial-*/model.onnx"))) == 3
    configs = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("trial-*/config.json")]
    assert len({config["settings"]["lr"] for config in configs}) == 3, "it proposes what it tried before"
    wrong = sweep(colours, tmp_path / "out", 1, "widht=0.25")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert wrong.stderr.strip().splitlines()[-1].startswith("error: ") and "widht" in wrong.stderr
