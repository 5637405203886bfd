"""Several processes learn what one learns: started by torchrun itself, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import ROOT, Cli

from apps.engine.core import run_dir
from backbone import MobileNetV1

SMALL = ("--resolution", 32, "--workers", 0, "--precision", "fp32")  # bf16 rounds parts of a batch otherwise


def torchrun(
    *arguments: object, processes: int = 2, restarts: int = 0, log: Path
) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}", "--monitor-interval=0.2", str(ROOT / "cli.py"), *map(str, arguments),
    ]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def finished(process: subprocess.Popen[bytes], log: Path) -> str:
    code = process.wait(timeout=300)
    said = log.read_text(errors="replace")
    assert code == 0, said
    return said


def apart(first: Path, second: Path) -> float:
    """The greatest difference of two runs' weights, as a share of each tensor's greatest weight."""
    one, other = (load_file(run / run_dir.MODEL) for run in (first, second))
    assert one.keys() == other.keys()
    scales = {name: value.abs().max().clamp(min=1e-3) for name, value in one.items()}
    return max(float((one[name] - other[name]).abs().max() / scales[name]) for name in one)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_the_same_global_batch(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    """24 photos in batches of 9 leave uneven parts; every photo to judge by is counted once."""
    torch.manual_seed(1)
    weights = tmp_path / "w.safetensors"
    save_file(MobileNetV1(0.25).state_dict(), weights, {"padding": "same", "resolution": "32"})
    common = (
        "finetune", "dogs", "--data", colours, "--weights", weights, *SMALL, "--batch-size", 9, "--epochs", 3,
    )
    answer = cli(*common, "--out", tmp_path / "one")
    assert answer.code == 0, answer.err
    log = tmp_path / "log"
    said = finished(torchrun(*common, "--out", tmp_path / "two", log=log), log)
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-4
    one, two = (run_dir.read_metrics(tmp_path / run) for run in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["train/loss"] == pytest.approx(mine["train/loss"], rel=1e-5)
        assert theirs["val/top1"] == mine["val/top1"]
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [result["metrics"]["top1"] for result in results] == [answer.lines[0]["metrics"]["top1"]]


@pytest.mark.long
@pytest.mark.slow
def test_batch_norm_that_learns_takes_the_statistics_of_the_whole_batch(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    """From scratch, where rounding grows fast: the first updates are compared, and what batch-norm saw."""
    common = (
        "finetune", "dogs", "--data", colours, *SMALL, "--resolution", 64, "--batch-size", 9, "--epochs", 1,
        "--optimizer", "sgd", "--lr", 1e-3,
    )
    answer = cli(*common, "--out", tmp_path / "one")
    assert answer.code == 0, answer.err
    log = tmp_path / "log"
    finished(torchrun(*common, "--out", tmp_path / "two", log=log), log)
    one, two = (load_file(tmp_path / run / run_dir.MODEL) for run in ("one", "two"))
    for name in (name for name in one if "running_" in name):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    (mine,), (theirs,) = (run_dir.read_metrics(tmp_path / run) for run in ("one", "two"))
    assert theirs["train/loss"] == pytest.approx(mine["train/loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.long
def test_a_worker_that_dies_is_started_again_from_the_last_checkpoint(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    common = ("finetune", "dogs", "--data", colours, *SMALL, "--batch-size", 8, "--epochs", 25)
    run, log = tmp_path / "run", tmp_path / "log"
    process = torchrun(*common, "--save-every", 0.1, "--out", run, restarts=2, log=log)
    end = time.monotonic() + 120
    while run_dir.read_progress(run).get("epoch", 0) < 2:
        assert time.monotonic() < end and process.poll() is None, log.read_text()
        time.sleep(0.05)
    first = run_dir.read_progress(run)["pid"]
    victim = next(one for one in children(process.pid) if one != first)
    os.kill(victim, signal.SIGKILL)
    while run_dir.read_progress(run).get("pid", first) == first:  # a finished run names no process
        assert time.monotonic() < end and process.poll() is None, "nothing was started again"
        time.sleep(0.02)
    finished(process, log)
    log = tmp_path / "whole.log"
    finished(torchrun(*common, "--out", tmp_path / "whole", log=log), log)
    assert (run / run_dir.MODEL).read_bytes() == (tmp_path / "whole" / run_dir.MODEL).read_bytes()
    assert len(run_dir.read_metrics(run)) == 25


def children(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


def test_another_number_of_processes_is_refused_or_taken_when_asked(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    cli("finetune", "dogs", "--data", colours, *SMALL, "--epochs", 2, "--stop-after", 1, "--out", run)
    state = run_dir.load_training_state(run)
    run_dir.save_training_state(run, state | {"world": 4})
    answer = cli("finetune", "dogs", "--resume", "--out", run)
    assert answer.code == 1
    assert "started with 4 processes, now there are 1" in answer.last_error
    assert "--any-world" in answer.last_error
    again = cli("finetune", "dogs", "--resume", "--any-world", "--out", run)
    assert again.code == 0, again.err


def test_processes_that_learn_together_need_a_folder_that_all_know(
    cli: Cli, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = cli("finetune", "dogs", "--data", colours)
    assert answer.code == 2
    assert "give --out RUN" in answer.last_error


def test_one_process_needs_no_group() -> None:
    from apps.engine.core.distributed import World

    world = World()
    assert (world.is_main, world.all_reduce([1.0, 2.0])) == (True, [1, 2])
    assert (world.gather("x"), world.broadcast("y")) == (["x"], "y")
    assert not torch.distributed.is_initialized()
