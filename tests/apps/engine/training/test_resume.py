"""Nothing is lost: a training that is stopped, killed or out of room goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
from support import KILLS, Cli, save_colour
from training_process import start_training

from apps.engine.core import run_dir
from apps.engine.core.files import only_process

# What keeps the most state: averaged weights, mixing, dropout, a plateau, the best epoch, half-done updates.
RICH = (
    "--ema", 0.95, "--mixup", 0.2, "--dropout", 0.2, "--schedule", "plateau", "--keep", "best",
    "--accumulate", 2, "--erase", 0.3,
)
COMMON = ("--resolution", 32, "--batch-size", 4, "--workers", 0)


def weights(run: Path) -> bytes:
    return (run / run_dir.MODEL).read_bytes()


def rows(run: Path) -> list[dict[str, float]]:
    """The lines of a run without its times."""
    times = ("seconds", "photos_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in run_dir.read_metrics(run)]


def wait_for(path: Path, *, since: float, seconds: float = 300.0) -> None:
    """Until a file is written anew."""
    end = time.monotonic() + seconds
    while not path.exists() or path.stat().st_mtime <= since:
        assert time.monotonic() < end, f"{path} was not written in {seconds:.0f} s"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_the_run_goes_on_in_the_middle_of_its_epoch(
    cli: Cli, colours: Path, tmp_path: Path, number: signal.Signals
) -> None:
    common = ("finetune", "dogs", "--data", colours, *COMMON, *RICH, "--epochs", 12)
    assert cli(*common, "--out", tmp_path / "whole").code == 0
    run, log = tmp_path / "parts", tmp_path / "log"
    process = start_training(*common, "--save-every", 0, "--out", run, log=log)
    wait_for(run / run_dir.TRAINING, since=0)
    time.sleep(0.5)
    os.kill(process.pid or 0, number)
    process.join(60)
    assert process.exitcode == 128 + number, log.read_text()
    said = log.read_text().strip().splitlines()[-1]
    assert "everything is kept: --resume" in said
    assert run_dir.read_progress(run)["state"] == "stopped"
    assert not (run / run_dir.MODEL).exists()
    again = cli("finetune", "dogs", "--resume", "--out", run)
    assert again.code == 0, again.err
    assert weights(run) == weights(tmp_path / "whole")
    assert rows(run) == rows(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_kills_at_random_moments_change_no_bit(
    imagewoof: Path, weights_025: Path, tmp_path: Path
) -> None:
    """SIGKILL, while photos are read, weights are updated, epochs are judged or files are written."""
    data = tmp_path / "data"
    for split, count in (("train", 20), ("val", 5)):
        for breed in sorted((imagewoof / split).iterdir()):
            for photo in sorted(breed.iterdir())[:count]:
                link = data / split / breed.name / photo.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(photo)
    common = (
        "finetune", "dogs", "--data", data, "--weights", weights_025, "--resolution", 96, "--batch-size", 16,
        "--workers", 1, "--epochs", 8, *RICH,
    )
    whole, run, log = tmp_path / "whole", tmp_path / "killed", tmp_path / "log"
    process = start_training(*common, "--out", whole, log=log)
    process.join(300)
    assert process.exitcode == 0, log.read_text()
    seeded, kills = random.Random(0), 0
    for _ in range(200):
        more = ("finetune", "dogs", "--resume", "--out", run) if run_dir.read_progress(run) else (
            *common, "--save-every", 0.05, "--out", run)
        process = start_training(*more, log=log)
        process.join(seeded.uniform(0.2, 4.0) if kills < KILLS else 300)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            continue
        assert process.exitcode == 0, log.read_text()
        break
    assert kills >= KILLS, f"the training ended after {kills} kills: make it longer"
    assert weights(run) == weights(whole)
    assert rows(run) == rows(whole)


def test_a_kill_before_the_first_checkpoint_leaves_a_run_that_starts_again(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    common = ("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 2, "--seed", 3)
    assert cli(*common, "--out", tmp_path / "whole").code == 0
    run = tmp_path / "run"
    assert cli(*common, "--stop-after", 1, "--out", run).code == 0
    (run / run_dir.TRAINING).unlink()
    again = cli("finetune", "dogs", "--resume", "--out", run)
    assert again.code == 0, again.err
    assert "starts from its beginning" in again.err
    assert weights(run) == weights(tmp_path / "whole")


def test_a_full_disk_is_told_once_and_the_last_good_checkpoint_stays(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    """A limit on the size of files acts as a full disk does: writing fails in the middle."""
    run = tmp_path / "run"
    common = ("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 3, "--out", run)
    assert cli(*common, "--stop-after", 1).code == 0
    before = (run / run_dir.TRAINING).read_bytes()
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, kept[1]))
    try:
        answer = cli("finetune", "dogs", "--resume", "--out", run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert answer.code == 1
    assert "make room, then go on with --resume" in answer.last_error
    assert (run / run_dir.TRAINING).read_bytes() == before
    assert not list(run.glob(".training*"))
    assert cli("finetune", "dogs", "--resume", "--out", run).code == 0
    assert cli(*common[:-1], tmp_path / "whole").code == 0
    assert weights(run) == weights(tmp_path / "whole")


def test_a_disk_that_fills_up_is_told_once_and_training_goes_on_to_its_end(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    """What was learned after the last checkpoint is lost only if there is no room at the end either."""
    run, log = tmp_path / "run", tmp_path / "log"
    common = ("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 12)
    process = start_training(*common, "--save-every", 0, "--out", run, log=log)
    wait_for(run / run_dir.TRAINING, since=0)
    resource.prlimit(process.pid or 0, resource.RLIMIT_FSIZE, (100_000, 100_000))
    process.join(120)
    said = log.read_text()
    assert process.exitcode == 1, said
    assert said.count("cannot write a checkpoint into") == 1
    assert "make room, then --resume" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert run_dir.load_training_state(run)["step"] >= 0
    assert cli("finetune", "dogs", "--resume", "--out", run).code == 0
    assert cli(*common, "--out", tmp_path / "whole").code == 0
    assert weights(run) == weights(tmp_path / "whole")


def test_a_half_written_state_is_one_clear_line(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 2, "--stop-after", 1, "--out", run)
    path = run / run_dir.TRAINING
    path.write_bytes(path.read_bytes()[:5000])
    answer = cli("finetune", "dogs", "--resume", "--out", run)
    assert answer.code == 1
    assert "training.pt is damaged" in answer.last_error


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / run_dir.TRAINING)
    with pytest.raises(ValueError, match=r"another version of this program \(state None, not 3\)"):
        run_dir.load_training_state(tmp_path)


def test_a_cut_off_last_row_is_left_out_and_any_other_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / run_dir.METRICS
    path.write_text('{"epoch": 1}\n{"epoch": 2, "tr')
    assert run_dir.read_metrics(tmp_path) == [{"epoch": 1}]
    path.write_text('{"epo\n{"epoch": 2}\n')
    with pytest.raises(ValueError, match="line 1 is no JSON"):
        run_dir.read_metrics(tmp_path)


def test_two_trainings_never_share_a_folder(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    common = ("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 500, "--out", run)
    process = start_training(*common, log=log)
    wait_for(run / run_dir.PROGRESS, since=0)
    answer = cli("finetune", "dogs", "--resume", "--out", run)
    assert answer.code == 1
    assert "another process is training into" in answer.last_error
    process.kill()
    process.join()
    with only_process(run):
        pass  # the dead hold nothing


def test_photos_or_classes_that_changed_are_told(cli: Cli, colours: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    for name in ("a", "b"):
        for number in range(4):
            save_colour(data / "train" / name / f"{number}.png", (50, 60, 70), seed=number)
            save_colour(data / "val" / name / f"{number}.png", (50, 60, 70), seed=number)
    cli("finetune", "dogs", "--data", data, *COMMON, "--epochs", 2, "--stop-after", 1, "--out", run)
    save_colour(data / "train" / "a" / "9.png", (50, 60, 70))
    answer = cli("finetune", "dogs", "--resume", "--out", run)
    assert (answer.code, "started with 8 training photos" in answer.last_error) == (1, True), answer.err
    (data / "train" / "a").rename(data / "train" / "c")
    (data / "val" / "a").rename(data / "val" / "c")
    answer = cli("finetune", "dogs", "--resume", "--out", run)
    assert (answer.code, "started with the classes a, b" in answer.last_error) == (1, True), answer.err


def test_progress_tells_others_how_far_a_run_is(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("finetune", "dogs", "--data", colours, *COMMON, "--epochs", 2, "--stop-after", 1, "--out", run)
    told = json.loads((run / run_dir.PROGRESS).read_text())
    assert (told["app"], told["epoch"], told["epochs"], told["state"]) == ("dogs", 1, 2, "stopped")
    assert told["steps_per_epoch"] == 6
