"""Watching a training: rows, CSV and TensorBoard's event files, read back as their readers do."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from apps.engine.core import run_dir
from apps.engine.core.metrics import best_of, written
from apps.engine.tracking import loggers, writers
from apps.engine.tracking.loggers import Watch, as_csv, read_rows, settings_text, truncate_metrics


def events(run: Path) -> EventAccumulator:
    reader = EventAccumulator(str(run / writers.EVENTS))
    reader.Reload()
    return reader


def points(run: Path, name: str) -> list[tuple[int, float]]:
    return [(one.step, round(one.value, 4)) for one in events(run).Scalars(name)]


def row(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "train/loss": 1 / epoch, "val/top1": epoch / 10} | more


def train(seen: Watch, first: int, last: int, per_epoch: int = 4, *, sign: int = 1) -> None:
    """As the loop calls it: each step, and at an epoch's end its row first and the watch then."""
    for step in range(first, last + 1):
        seen.step(step, {"train/loss": sign * step, "lr": 0.1, "photos/s": 30.0})
        if step % per_epoch == 0:
            run_dir.append_metrics(seen.run, row(step // per_epoch))
            seen.epoch(row(step // per_epoch))


def test_names_of_files_are_those_of_the_checkpoint() -> None:
    assert run_dir.METRICS == loggers.METRICS


def test_figures_of_steps_and_epochs_are_read_back_from_the_event_files(tmp_path: Path) -> None:
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        train(seen, 1, 8)
    assert points(tmp_path, "steps/loss") == [(n, float(n)) for n in range(1, 9)]
    assert points(tmp_path, "steps/photos/s") == [(n, 30.0) for n in range(1, 9)]
    assert points(tmp_path, "train/loss") == [(4, 1.0), (8, 0.5)]
    assert points(tmp_path, "val/top1") == [(4, 0.1), (8, 0.2)]
    assert "epoch" not in events(tmp_path).Tags()["scalars"]


def test_a_resumed_run_shows_no_step_and_no_epoch_twice(tmp_path: Path) -> None:
    """Steps 6 to 10 came after the checkpoint at step 5; the run was killed and does them again."""
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        train(seen, 1, 10)
    with Watch(tmp_path, writers=("tensorboard",)) as again:
        assert again.resume(step=5, epoch=1) == []
        train(again, 6, 9, sign=-1)
    expected = [(n, float(n if n <= 5 else -n)) for n in range(1, 10)]
    assert points(tmp_path, "steps/loss") == expected
    assert [step for step, _ in points(tmp_path, "val/top1")] == [4, 8]
    assert [one["epoch"] for one in read_rows(tmp_path)[0]] == [1, 2]
    assert [one["epoch"] for one in read_table(tmp_path)] == ["1", "2"]


def test_a_new_run_takes_back_what_lies_in_its_folder(tmp_path: Path) -> None:
    """A run that was killed before its first checkpoint leaves rows and events that belong to nothing."""
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        train(seen, 1, 8)
    with Watch(tmp_path, writers=("tensorboard",)) as again:
        again.resume(step=0, epoch=0)
        assert read_rows(tmp_path) == ([], [])
        train(again, 1, 2, sign=-1)
    assert points(tmp_path, "steps/loss") == [(1, -1.0), (2, -2.0)]


def test_an_event_file_that_was_cut_off_by_a_kill_does_not_hide_the_next(tmp_path: Path) -> None:
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        train(seen, 1, 4)
    (file,) = (tmp_path / writers.EVENTS).iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    with Watch(tmp_path, writers=("tensorboard",)) as again:
        again.resume(step=2, epoch=0)
        train(again, 3, 4)
    assert [step for step, _ in points(tmp_path, "steps/loss")] == [1, 2, 3, 4]


def test_all_told_so_far_is_on_disk_after_a_flush_and_after_an_epoch(tmp_path: Path) -> None:
    """The writer keeps figures back for two minutes; a kill right after a checkpoint must lose none."""
    seen = Watch(tmp_path, writers=("tensorboard",))
    seen.step(1, {"train/loss": 3.0})
    seen.flush()
    assert points(tmp_path, "steps/loss") == [(1, 3.0)]
    seen.step(2, {"train/loss": 2.0})
    seen.epoch(row(1))
    assert points(tmp_path, "steps/loss") == [(1, 3.0), (2, 2.0)]
    seen.close()
    seen.close()


def test_what_is_written_cannot_be_taken_back_too_late(tmp_path: Path) -> None:
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        seen.step(1, {"train/loss": 1.0})
        with pytest.raises(RuntimeError, match=r"resume\(1, 0\) comes before anything is written"):
            seen.resume(1, 0)


def test_the_end_shows_figures_texts_and_pictures(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (200, 10, 10, 255)).save(tmp_path / "plot.png")
    with Watch(tmp_path, writers=("tensorboard",)) as seen:
        seen.step(7, {"train/loss": 1.0})
        seen.end(
            {"top1": 0.5}, texts={"settings": settings_text({"lr": 0.1, "width": None})},
            figures={"plot": tmp_path / "plot.png"},
        )
    tags = events(tmp_path).Tags()
    assert points(tmp_path, "final/top1") == [(7, 0.5)]
    assert tags["tensors"] == ["settings/text_summary"]
    (image,) = events(tmp_path).Images("plot")
    assert (image.width, image.height) == (6, 4)
    assert settings_text({"lr": 0.1, "width": None}).splitlines()[2:] == ["| lr | 0.1 |"]


def test_without_tensorboard_no_event_file_is_made(tmp_path: Path) -> None:
    with Watch(tmp_path) as seen:
        train(seen, 1, 4)
        seen.end({"top1": 1.0})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["metrics.csv", "metrics.jsonl"]


def read_table(run: Path) -> list[dict[str, str]]:
    with (run / loggers.TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_every_column_of_every_row_in_a_stable_order(tmp_path: Path) -> None:
    """A figure that comes later, such as a calibration, becomes a column at the end."""
    with Watch(tmp_path) as seen:
        for one in (row(1), row(2, lr=1e-5), row(3, note='a "b", c', parts={"x": 1})):
            run_dir.append_metrics(tmp_path, one)
            seen.epoch(one)
    heading = (tmp_path / loggers.TABLE).read_text().splitlines()[0]
    assert heading == "epoch,train/loss,val/top1,lr,note,parts"
    first, second, third = read_table(tmp_path)
    assert (first["lr"], second["lr"], third["lr"]) == ("", "1e-05", "")
    assert third["note"] == 'a "b", c'
    assert json.loads(third["parts"]) == {"x": 1}
    assert as_csv([{"loss": 2.0, "epoch": 1}]) == "epoch,loss\n1,2.0\n"


def test_the_csv_is_the_old_one_or_the_new_one_never_half(tmp_path: Path) -> None:
    """Readers such as a spreadsheet open it while the training writes: the file is replaced, not filled."""
    with Watch(tmp_path) as seen:
        train(seen, 1, 4)
        with (tmp_path / loggers.TABLE).open() as held:
            train(seen, 5, 8)
            assert len(held.read().splitlines()) == 2
    assert len(read_table(tmp_path)) == 2


def test_a_line_cut_off_by_a_kill_is_told_and_left_out(tmp_path: Path) -> None:
    """Appending after half a line would spoil the next row too."""
    file = tmp_path / loggers.METRICS
    file.write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2)) + "\n" + '{"epoch": 3, "tr')
    (complaint,) = truncate_metrics(tmp_path, 2)
    assert complaint == f"line 3 of {file} is damaged and left out: '{{\"epoch\": 3, \"tr'"
    run_dir.append_metrics(tmp_path, row(3))
    assert [one["epoch"] for one in run_dir.read_metrics(tmp_path)] == [1, 2, 3]
    assert read_rows(tmp_path)[1] == []


def test_rows_after_the_checkpoint_go_and_those_before_stay_as_they_are(tmp_path: Path) -> None:
    for number in range(1, 5):
        run_dir.append_metrics(tmp_path, row(number))
    run_dir.append_metrics(tmp_path, {"note": "no epoch"})
    before = (tmp_path / loggers.METRICS).read_text().splitlines()
    assert truncate_metrics(tmp_path, 2) == []
    assert (tmp_path / loggers.METRICS).read_text().splitlines() == before[:2]
    assert truncate_metrics(tmp_path / "nothing", 2) == []


def test_a_missing_tensorboard_is_one_line_at_once() -> None:
    """In a process of its own, to which the package is made invisible as if it were not installed."""
    code = (
        "import sys\n"
        "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "from pathlib import Path\n"
        "from apps.engine.tracking.loggers import Watch\n"
        "try: Watch(Path('.'), writers=('tensorboard',))\n"
        "except ValueError as err: print(err)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == [
        "--log tensorboard needs a package that is not here; run: pip install tensorboard", "False"
    ]


def test_the_best_value_is_the_first_of_equals_and_never_no_number() -> None:
    nan = float("nan")
    assert best_of([0.1, 0.5, 0.5, nan], "top1", higher_is_better=True) == 1
    assert best_of([nan, 3.0, 2.0, 2.0], "loss", higher_is_better=False) == 2
    with pytest.raises(ValueError, match="no number among the 1 values of loss"):
        best_of([nan], "loss", higher_is_better=False)


@pytest.mark.parametrize(("value", "text"), [
    (0.8736, "0.874"), (0, "0"), (0.0, "0.000"), (1.2e-5, "1.2e-05"), (12.345, "12.35"), (1240.6, "1241"),
    (123456.7, "123457"), (float("nan"), "nan"), (-2.5, "-2.500"),
])
def test_figures_are_written_short(value: float, text: str) -> None:
    assert written(value) == text
