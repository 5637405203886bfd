"""A task on the defaults of the contract, by the real commands; what cannot work is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from example_task import Example
from support import COLOURS, ROOT, Cli, save_colour

from apps.engine.core import registry
from apps.engine.core.registry import check_members, load_task
from apps.engine.core.settings import Settings

FAST = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 4, "--workers", 0)


@pytest.fixture
def tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Images that are red, or bright, or both; the task is registered as another package's would be."""
    point = EntryPoint("example", "example_task:Example", registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: (point,))
    registry.targets.cache_clear()
    for split, count in (("train", 8), ("val", 4)):
        rows = ["path,red,green"]
        for number in range(count):
            colour = "red" if number % 2 else "green"
            save_colour(tmp_path / f"{split}{number}.png", COLOURS[colour], seed=number)
            rows.append(f"{split}{number}.png,{number % 2},{1 - number % 2}")
        (tmp_path / f"{split}.csv").write_text("\n".join(rows))
    yield tmp_path
    registry.targets.cache_clear()


def test_a_task_of_name_settings_metrics_dataset_head_and_evaluator_is_whole(cli: Cli, tags: Path) -> None:
    assert sum(bool(line.strip()) for line in (ROOT / "tests" / "example_task.py").open()) <= 75
    run = tags / "run"
    answer = cli("finetune", "example", "--data", tags, *FAST, "--out", run)
    assert answer.code == 0, answer.err
    metrics = answer.lines[0]["metrics"]
    assert {"mean_ap", "ap/red", "ap/green"} == metrics.keys()
    assert "val/mean_ap" in json.loads((run / "metrics.jsonl").read_text())
    page = (run / "report.html").read_text()
    assert "ap/red" in page and "Learning curves" in page and (run / "curves.png").is_file()
    report = tags / "report"
    again = cli("evaluate", "example", "--checkpoint", run, "--report", report, "--precision", "fp32")
    assert again.code == 0, again.err
    assert again.lines[0]["metrics"] == pytest.approx(metrics, abs=1e-6)
    assert (tags / "report" / "report.html").is_file()


@pytest.mark.parametrize(("options", "why"), [
    (("--teacher", "run"), "--teacher needs class logits; leave it out"),
    (("--sampling", "balanced"), "--sampling balanced needs one class a photo; leave it out"),
    (("--freeze", "--weights", "w"), "--freeze fits no head of this task at once; give --epochs"),
])
def test_options_that_a_task_does_not_support_are_refused_for_it(
    options: tuple[str, ...], why: str, cli: Cli, tags: Path
) -> None:
    answer = cli("finetune", "example", "--data", tags, *options, "--out", tags / "run")
    assert answer.code == 2
    assert why in answer.last_error
    assert not (tags / "run").exists()


@pytest.mark.parametrize(("app", "option"), [
    ("places", {"teacher": "run"}), ("places", {"sampling": "balanced"}), ("faces", {"sampling": "balanced"}),
])
def test_no_task_ignores_an_option_that_it_cannot_follow(app: str, option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        load_task(app).Settings(**option)


def test_a_report_that_fails_costs_neither_the_run_nor_the_answer(
    cli: Cli, tags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Path]:
        raise RuntimeError("no font\nof that name")

    monkeypatch.setattr(Example, "report", broken)
    answer = cli("finetune", "example", "--data", tags, *FAST, "--out", tags / "run")
    assert answer.code == 1 and "mean_ap" in answer.lines[0]["metrics"]
    told = " ".join(answer.err.split())
    assert "(RuntimeError: no font of that name); the run is complete: evaluate example --checkpoint" in told
    assert json.loads((tags / "run" / "progress.json").read_text())["state"] == "finished"
    again = cli("evaluate", "example", "--checkpoint", tags / "run", "--report", tags / "report")
    assert again.code == 1 and "mean_ap" in again.lines[0]["metrics"]
    assert "the metrics are complete" in " ".join(again.err.split())
    monkeypatch.undo()
    assert cli("doctor").code == 0  # what failed before is not its


def test_a_class_that_is_no_task_is_refused_with_what_it_lacks() -> None:
    half = type("Half", (), {"name": "half", "Settings": Settings})
    with pytest.raises(ValueError, match=r"^the task 'half', here:Half, lacks .*dataset, .*head, "):
        check_members(half, "'half', here:Half,")
    check_members(Example, "'example'")
