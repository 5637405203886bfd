"""embed-faces broken off, killed and shared: it goes on, and ends with the same table."""

from __future__ import annotations

import json
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
from faces_support import draw_crops, embed
from support import KILLS, ROOT, Cli

from apps.faces.extraction import resumable_job as workshop_module
from apps.faces.extraction import table as table_module


def test_a_run_broken_off_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after every part, in the merge, and after the table was put in its place."""
    monkeypatch.setattr(workshop_module, "CHUNK", 2)
    monkeypatch.setattr(table_module, "ROWS", 5)
    embed(cli, weights, out, crops)
    whole = out.read_bytes()
    broken = out.with_name("broken.parquet")
    put, assembled = workshop_module.ResumableJob.put, workshop_module.write_ledger

    def dies_after_one(self: workshop_module.ResumableJob, *rest: object) -> None:
        put(self, *rest)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    command = ("embed-faces", crops, "--out", broken, "--weights", weights, "--align", "none")
    monkeypatch.setattr(workshop_module.ResumableJob, "put", dies_after_one)
    assert [cli(*command).code for _ in range(3)] == [130] * 3
    assert len(list(broken.with_name(".broken.parquet.parts").glob("0*.parquet"))) == 3
    monkeypatch.setattr(workshop_module.ResumableJob, "put", put)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workshop_module, "merge", dies)
    assert cli(*command).code == 130
    monkeypatch.setattr(workshop_module, "merge", table_module.merge)
    monkeypatch.setattr(workshop_module, "write_ledger", dies)
    assert cli(*command).code == 130
    assert broken.exists()
    monkeypatch.setattr(workshop_module, "write_ledger", assembled)
    assert embed(cli, weights, broken, crops)["photos"] == 12
    assert broken.read_bytes() == whole
    assert not list(broken.parent.glob(".broken*"))


def test_parts_of_another_run_are_kept_when_the_photos_have_changed_since(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop_module, "CHUNK", 4)
    put = workshop_module.ResumableJob.put

    def dies_after_one(self: workshop_module.ResumableJob, *rest: object) -> None:
        put(self, *rest)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(workshop_module.ResumableJob, "put", dies_after_one)
    assert cli("embed-faces", crops, "--out", out, "--weights", weights, "--align", "none").code == 130
    monkeypatch.setattr(workshop_module.ResumableJob, "put", put)
    shutil.rmtree(crops / "PERSON_3")
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"]) == (5, 4)
    assert pq.read_table(out).num_rows == 9


def start(rank: int, world: int, *command: object, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, command)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_processes_make_the_table_that_one_makes(
    cli: Cli, weights: Path, tmp_path: Path, out: Path
) -> None:
    draw_crops(tmp_path / "many", people=25, each=4)
    embed(cli, weights, out, tmp_path / "many", workers=1)
    shared = out.with_name("shared.parquet")
    command = (
        "embed-faces",
        tmp_path / "many",
        "--out",
        shared,
        "--weights",
        weights,
        "--align",
        "none",
        "--workers",
        1,
    )
    for faces in (100, 0):  # the second time there is nothing to do, for neither of them
        both = [start(rank, 2, *command) for rank in (1, 0)]
        told = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [0, 0], told
        assert told[0][0] == ""
        assert json.loads(told[1][0])["new_faces"] == faces
    ours, theirs = pq.read_table(out), pq.read_table(shared)
    assert ours.drop_columns(["vector"]) == theirs.drop_columns(["vector"])
    np.testing.assert_allclose(ours["vector"].to_pylist(), theirs["vector"].to_pylist(), atol=1e-5)


def test_ranks_that_do_not_go_together_are_refused(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = cli("embed-faces", crops, "--out", out, "--weights", weights)
    assert "RANK=2 and WORLD_SIZE=2 do not go together; use torchrun" in answer.last_error


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
    whole = start(0, 1, *command, tmp_path / "whole.parquet")
    assert whole.wait(timeout=300) == 0
    took = time.perf_counter() - began
    few = min(KILLS, 10)
    rng, kills, broken = np.random.default_rng(0), 0, tmp_path / "broken.parquet"
    while kills < few or not broken.exists():
        if broken.exists():  # done before all kills: once more from the start
            assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
            broken.unlink()
        process = start(0, 1, *command, broken)
        try:
            process.wait(timeout=float(rng.uniform(0.2, 1.0)) * took if kills < few else 300)
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".broken.parquet*"))
