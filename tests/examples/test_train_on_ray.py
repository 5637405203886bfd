"""Ray Train starts two processes of the same training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import COLOURS, ROOT, save_colour

pytest.importorskip("ray")
SCRIPT = ROOT / "examples" / "train_on_ray.py"


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1000)
def test_two_workers_of_ray_train_write_one_run(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        for split in ("train", "val"):
            for seed in range(8):
                save_colour(tmp_path / "photos" / split / name / f"{seed}.png", colour, seed=seed)
    done = start(2, tmp_path / "photos", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'run'} was trained by 2 processes"
    assert (tmp_path / "run" / "model.safetensors").is_file()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]


def test_photos_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    done = start(2, tmp_path / "none", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {tmp_path / 'none'} is no folder of photos"
