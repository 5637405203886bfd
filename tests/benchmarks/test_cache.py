"""What the cache costs, measured: it runs on a few photos, and tells each stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main


def test_each_stage_has_its_time_and_the_cache_is_removed_again(
    colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--photos", "4", "--short-side", "64", "--resolution", "32", "--rounds", "2"]
    assert main(["cache", "--data", str(colours), *words, "--out", str(tmp_path)]) == 0
    times = json.loads(capfd.readouterr().out)["cpu_ms"]
    assert list(times) == ["decode", "decode and keep", "read, the first time in a process", "read again"]
    assert all(value > 0 for value in times.values())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_number_of_rounds_below_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--rounds", "0", "--out", str(tmp_path)]) == 1
    assert "--rounds and --photos must be 1 or more, got 0, 300" in capsys.readouterr().err
