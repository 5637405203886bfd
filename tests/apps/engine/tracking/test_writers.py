"""MLflow and Weights & Biases, both offline and for real, read back from what they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import Cli

from apps.engine.tracking import writers
from apps.engine.tracking.loggers import Watch

SMALL = ("--resolution", 32, "--width", 0.25, "--epochs", 2, "--batch-size", 8, "--workers", 0)


def figures(watch: Watch, first: int, last: int) -> None:
    for step in range(first, last + 1):
        watch.step(step, {"train/loss": 1 / step})
        watch.epoch({"epoch": step, "val/top1": step / 10, "val/tar@far=1e-4": 0.5})


def history(run: Path) -> dict[str, list[tuple[int, float]]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(run.parent / writers.MLRUNS).as_uri())
    number = json.loads((run / writers.RUN_IDS).read_text())["mlflow"]
    names = client.get_run(number).data.metrics
    return {n: [(m.step, m.value) for m in client.get_metric_history(number, n)] for n in names}


def test_mlflow_takes_steps_epochs_and_texts_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install mlflow-skinny")
    run = tmp_path / "run"
    run.mkdir()
    with Watch(run, writers=("mlflow",)) as watch:
        figures(watch, 1, 2)
        watch.end({"top1": 0.2}, texts={"settings": "| a |"})
    with Watch(run, writers=("mlflow",)) as watch:
        watch.resume(2, 2)
        figures(watch, 3, 3)
    seen = history(run)
    assert seen["val/top1"] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert [step for step, _ in seen["steps/loss"]] == [1, 2, 3]
    assert seen["val/tar_far_1e-4"][0] == (1, 0.5) and seen["final/top1"] == [(2, 0.2)]
    assert len(list((tmp_path / writers.MLRUNS).glob("*/*/artifacts/settings.md"))) == 1


def test_wandb_is_offline_unless_asked_and_goes_on_as_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="pip install wandb")
    with Watch(tmp_path, writers=("wandb",)) as watch:
        figures(watch, 1, 2)
        watch.end({"top1": 0.2}, texts={"settings": "| a |"})
    number = json.loads((tmp_path / writers.RUN_IDS).read_text())["wandb"]
    (file,) = (tmp_path / "wandb").glob(f"offline-run-*/run-{number}.wandb")
    content = file.read_bytes()
    assert not [name for name in (b"val/top1", b"steps/loss", b"final/top1") if name not in content]


@pytest.mark.slow
def test_a_training_is_told_to_all_of_them(cli: Cli, colours: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install mlflow-skinny")
    pytest.importorskip("wandb", reason="pip install wandb")
    run = tmp_path / "run"
    answer = cli(
        "finetune", "dogs", "--data", colours, *SMALL, "--log", "tensorboard,mlflow, wandb", "--out", run
    )
    assert answer.code == 0, answer.err
    assert [step for step, _ in history(run)["val/top1"]] == [3, 6]
    assert list((run / "tensorboard").glob("events.*")) and list((run / "wandb").glob("offline-run-*"))
    listed = cli("runs", tmp_path, "--json").lines
    assert [Path(line["run"]).name for line in listed] == ["run"]


@pytest.mark.parametrize(("name", "package"), list(writers.PACKAGES.items()))
def test_a_package_that_is_missing_is_one_line_before_anything_is_trained(
    name: str, package: str, cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: str) -> Any:
        return None

    monkeypatch.setattr(writers, "find_spec", nothing)
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--log", name, "--out", tmp_path / "run")
    words = f"error: --log {name} needs a package that is not here; run: pip install {package}"
    assert (answer.code, answer.last_error) == (1, words) and not (tmp_path / "run").exists()


def test_a_name_that_is_not_known_is_refused(cli: Cli, colours: Path, tmp_path: Path) -> None:
    answer = cli("finetune", "dogs", "--data", colours, "--log", "comet", "--out", tmp_path / "run")
    assert (answer.code, answer.last_error) == (
        1, "error: --log comet: there are tensorboard, mlflow, wandb; several with commas between"
    )
