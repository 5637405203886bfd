"""embed-faces broken off, killed and shared: it goes on, and ends with the same table."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import draw_crops, dying_after_a_part, embed, small_parts
from support import KILLS, ROOT, Cli

from apps.faces.extraction import resumable_job as job_module
from apps.faces.extraction import table as table_module


def test_a_run_broken_off_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after every part, in the merge, and after the table was put in its place."""
    small_parts(monkeypatch, 2)
    monkeypatch.setattr(table_module, "ROWS", 5)
    embed(cli, weights, out, crops)
    whole = out.read_bytes()
    broken = out.with_name("broken.parquet")
    command = ("embed-faces", crops, "--out", broken, "--weights", weights, "--align", "none")
    with dying_after_a_part():
        assert [cli(*command).code for _ in range(3)] == [130] * 3
    assert len(list(broken.with_name(".broken.parquet.parts").glob("part-*.parquet"))) == 3

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    for inner in ("merge", "write_ledger"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job_module, inner, dies)
            assert cli(*command).code == 130
    assert broken.exists()
    assert embed(cli, weights, broken, crops)["photos"] == 12
    assert broken.read_bytes() == whole
    assert not list(broken.parent.glob(".broken*"))


def test_parts_of_another_run_are_kept_when_the_photos_have_changed_since(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 4)
    with dying_after_a_part():
        assert cli("embed-faces", crops, "--out", out, "--weights", weights, "--align", "none").code == 130
    shutil.rmtree(crops / "PERSON_3")
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"]) == (5, 4)
    assert pq.read_table(out).num_rows == 9


def test_a_damaged_part_is_made_again(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 4)
    how = ("--out", out, "--weights", weights, "--align", "none")
    for photos in (crops, crops / "PERSON_3"):
        with dying_after_a_part():
            assert cli("embed-faces", photos, *how).code == 130
    for part in out.parent.glob(".faces.parquet.parts/part-*"):
        part.write_bytes(part.read_bytes()[:-9])
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"], answer["faces"]) == (12, 0, 12)
    assert not list(out.parent.glob(".faces*"))


def test_a_run_that_was_broken_off_before_is_gone_on_with_after_another(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts count as its own, those of the other as known; the photos of both are there once."""
    small_parts(monkeypatch, 2)
    some = ("--out", out, "--weights", weights, "--align", "none")
    with dying_after_a_part():
        assert cli("embed-faces", crops / "PERSON_1", *some).code == 130
        assert cli("embed-faces", crops, *some).code == 130
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"], answer["faces"]) == (10, 2, 12)
    assert not list(out.parent.glob(".faces*"))


def start(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_processes_make_the_table_that_one_makes(
    cli: Cli, weights: Path, tmp_path: Path, out: Path
) -> None:
    draw_crops(tmp_path / "many", people=25, each=4)
    embed(cli, weights, out, tmp_path / "many", workers=1)
    shared = out.with_name("shared.parquet")
    for faces in (100, 0):
        answer = embed(cli, weights, shared, tmp_path / "many", workers=2, runner="local")
        assert answer["new_faces"] == faces
    assert shared.read_bytes() == out.read_bytes()
    assert not list(out.parent.glob(".shared*"))


def test_torchrun_is_refused(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = cli("embed-faces", crops, "--out", out, "--weights", weights)
    assert (answer.code, "shares its work by --runner local or ray" in answer.last_error) == (2, True)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_table(
    shared: Path, weights: Path, tmp_path: Path
) -> None:
    """Real photos with real detection; SIGKILL leaves no time to tidy up."""
    photos = tmp_path / "photos"
    for folder in sorted((shared / "data/faces_colour/images").iterdir())[:8]:
        shutil.copytree(folder, photos / folder.name)
    command = ("embed-faces", photos, "--weights", weights, "--workers", 1, "--out")
    began = time.perf_counter()
    whole = start(*command, tmp_path / "whole.parquet")
    assert whole.wait(timeout=300) == 0
    took = time.perf_counter() - began
    few = min(KILLS, 10)
    rng, kills, broken = np.random.default_rng(0), 0, tmp_path / "broken.parquet"
    while kills < few or not broken.exists():
        if broken.exists():  # done before all kills: once more from the start
            assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
            broken.unlink()
        process = start(*command, broken)
        try:
            process.wait(timeout=float(rng.uniform(0.2, 1.0)) * took if kills < few else 300)
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".broken.parquet*"))
