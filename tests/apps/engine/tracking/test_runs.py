"""``runs``: folders in their real layout, found, listed and compared by the real command line."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Cli

from apps.engine.core import run_dir
from apps.engine.core.process import is_alive, this_machine
from apps.engine.tracking import runs
from apps.engine.tracking.compare import compare
from apps.engine.tracking.runs import find_runs, ordered, read_run
from apps.engine.tracking.tables import comparison_lines, is_figure, list_lines, printable

OLD = time.time() - 86_400
ROW = {"epoch": 1, "train/loss": 2.0, "val/loss": 1.5, "val/top1": 0.5, "lr": 0.1, "seconds": 10.0}


def config(**more: Any) -> dict[str, Any]:
    return {
        "app": "dogs", "classes": ["a", "b"],
        "settings": {"epochs": 2, "lr": 0.1, "resolution": 96, "seed": 0},
        "backbone": {"name": "mobilenetv1_0.25"}, "metrics": {"top1": 0.8, "ece": 0.05},
        "data": {"train": 1600, "val": 400, "skipped": []},
    } | more


def make(
    folder: Path, *, settings: dict[str, Any] | None = None, rows: int = 2, progress: Any = None,
    training: bool = True, finished: bool = True, age: float = OLD, **more: Any,
) -> Path:
    """A run's folder as training leaves it."""
    folder.mkdir(parents=True)
    if finished:
        values = config(**more)
        values["settings"] |= settings or {}
        (folder / "config.json").write_text(json.dumps(values))
        (folder / "model.safetensors").write_bytes(b"x")
    if training:
        (folder / "training.pt").write_bytes(b"never read")
    for number in range(1, rows + 1):
        run_dir.append_metrics(folder, ROW | {"epoch": number, "val/top1": 0.5 + number / 10})
    if progress is not None:
        (folder / "progress.json").write_text(json.dumps(progress))
    for file in folder.iterdir():
        os.utime(file, (age, age))
    return folder


def progress(**more: Any) -> dict[str, Any]:
    return {
        "epoch": 1, "step": 5, "steps_per_epoch": 10, "epochs": 9, "state": "running", "pid": os.getpid(),
        "host": socket.gethostname(), "time": time.time(),
    } | more


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-S", "-c", ""])
    done.wait()
    return done.pid


def test_names_of_files_are_those_of_the_checkpoint() -> None:
    for name in ("MODEL", "CONFIG", "TRAINING", "METRICS"):
        assert getattr(runs, name) == getattr(run_dir, name)


def test_a_finished_run_is_listed_with_what_one_asks_first(tmp_path: Path, cli: Cli) -> None:
    folder = make(tmp_path / "deep" / "er" / "mine")
    (line,) = cli("runs", tmp_path).lines
    date = line.pop("date")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", date)
    assert line == {
        "run": str(folder), "state": "finished", "note": "", "app": "dogs", "backbone": "mobilenetv1_0.25",
        "resolution": 96, "photos": 1600, "epochs_done": 2, "epochs": 2,
        "best": {"metric": "top1", "value": 0.7, "epoch": 2}, "metrics": {"top1": 0.8, "ece": 0.05},
        "seconds": 20.0,
    }


def test_a_real_run_is_listed(colour_run: Path, cli: Cli) -> None:
    answer = cli("runs", colour_run.parent)
    (line,) = [one for one in answer.lines if one["run"] == str(colour_run)]
    assert (line["app"], line["state"], line["resolution"], line["photos"]) == ("dogs", "finished", 32, 24)
    assert (line["epochs_done"], line["epochs"]) == (6, 6)
    assert line["metrics"]["top1"] > 0
    assert answer.code == 0


def test_a_running_run_shows_what_its_progress_file_tells(tmp_path: Path) -> None:
    told = progress(app="dogs", backbone="mobilenetv1_0.25", resolution=96, photos="many")
    found = read_run(make(tmp_path / "run", finished=False, rows=0, progress=told))
    assert found is not None
    assert (found.app, found.backbone, found.resolution) == ("dogs", "mobilenetv1_0.25", 96)
    assert found.photos is None
    assert (found.epochs_done, found.epochs) == (1, 9)


JUNK = (None, [], {}, "x", -1, 2.5, True, float("nan"), {"name": 3}, [1])


@pytest.mark.parametrize("junk", JUNK)
def test_no_value_of_an_unlucky_kind_stops_the_list(tmp_path: Path, junk: Any) -> None:
    """Files of other versions and other programs: each key in turn holds what nobody foresaw."""
    for key in ("app", "settings", "backbone", "metrics", "data", "intervals", "classes"):
        folder = make(tmp_path / "config" / key)
        (folder / "config.json").write_text(json.dumps(config(**{key: junk})))
    for key in ("epoch", "epochs", "state", "pid", "host", "time", "app", "backbone"):
        make(tmp_path / "progress" / key, finished=False, progress=progress(**{key: junk}))
    for key in ROW:
        run_dir.append_metrics(make(tmp_path / "rows" / key), ROW | {key: junk})
    found = find_runs(tmp_path)
    assert len(found) == 7 + 8 + len(ROW)
    for by in ("run", "top1", "epochs_done", "date", "seconds"):
        assert len(list_lines(ordered(found, by), 200, by)) == 1 + len(found)
    known = [run for run in found if run.state != "damaged" and "name" not in run.metrics]
    json.dumps(compare(known), allow_nan=False)


def state(run: Path) -> tuple[str, str]:
    found = read_run(run)
    assert found is not None
    return found.state, found.note


@pytest.mark.parametrize(("parts", "expected"), [
    ({"finished": False}, ("stopped", "")),
    ({"finished": False, "age": time.time()}, ("running?", "written to lately")),
    ({"finished": False, "training": False}, ("stopped", "no checkpoint to go on from")),
    ({"rows": 0, "training": False}, ("finished", "")),
    ({"progress": progress(state="finished")}, ("finished", "")),
    ({"finished": False, "progress": progress(state="stopped")}, ("stopped", "")),
    ({"finished": False, "progress": progress()}, ("running", f"process {os.getpid()}")),
    ({"progress": progress()}, ("running", f"process {os.getpid()}")),
    ({"finished": False, "progress": progress(host="elsewhere")},
     ("running?", "on elsewhere, which cannot be asked from here")),
    ({"finished": False, "progress": progress(host=None, machine="0123456789abcdef")},
     ("running?", "on another machine, which cannot be asked from here")),
    ({"finished": False, "progress": progress(host=None, machine=this_machine())},
     ("running", f"process {os.getpid()}")),
])
def test_the_state_of_a_run_is_told_from_its_files(
    tmp_path: Path, parts: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert state(make(tmp_path / "run", **parts)) == expected


@pytest.mark.parametrize(("training", "more"), [(True, ""), (False, "; no checkpoint to go on from")])
def test_a_run_whose_process_died_is_interrupted(tmp_path: Path, training: bool, more: str) -> None:
    pid = dead_pid()
    run = make(tmp_path / "run", finished=False, training=training, rows=0, progress=progress(pid=pid))
    assert state(run) == ("interrupted", f"process {pid} is gone{more}")


def test_a_later_process_of_the_same_number_is_another_one() -> None:
    """Numbers come round again: after a restart of the machine some process has nearly any of them."""
    assert is_alive(os.getpid(), time.time())
    assert is_alive(os.getpid())
    assert not is_alive(os.getpid(), OLD)
    assert not is_alive(2**40)
    assert is_alive(1)


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(child.pid, time.time())
    child.wait()


def test_an_unfinished_run_shows_the_figures_of_its_last_epoch(tmp_path: Path) -> None:
    found = read_run(make(tmp_path / "run", finished=False, progress=progress()))
    assert found is not None
    assert found.metrics == {"loss": 1.5, "top1": 0.7}
    assert (found.epochs_done, found.epochs) == (2, 9)


@pytest.mark.parametrize(("file", "content", "reason"), [
    ("config.json", '{"app": "dogs"', "config.json is no JSON: cut off or overwritten"),
    ("config.json", "[]", "config.json holds no object"),
    ("config.json", b"\xff\x00", "config.json is no JSON: cut off or overwritten"),
    ("config.json", '{"app": "dogs"}', "config.json lacks 'settings'"),
    ("config.json", '{"settings": {}}', "config.json lacks 'app'"),
    ("config.json", '{"app": "dogs", "settings": {}, "metrics": []}', "'metrics' in config.json is no table"),
    ("progress.json", "{", "progress.json is no JSON: cut off or overwritten"),
    ("progress.json", json.dumps(progress(pid="x")), "progress.json says running, but its process id is 'x'"),
    ("progress.json", json.dumps(progress(pid=-1)), "progress.json says running, but its process id is -1"),
    ("model.safetensors", None, "model.safetensors is missing beside config.json"),
])
def test_a_damaged_run_is_one_line_with_the_reason_and_the_others_go_on(
    tmp_path: Path, cli: Cli, file: str, content: Any, reason: str
) -> None:
    make(tmp_path / "good")
    bad = make(tmp_path / "bad")
    if content is None:
        (bad / file).unlink()
    else:
        (bad / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = cli("runs", tmp_path)
    assert answer.code == 0
    assert [(one["state"], one["note"]) for one in answer.lines] == [("damaged", reason), ("finished", "")]


def test_finished_by_word_alone_is_damaged(tmp_path: Path) -> None:
    run = make(tmp_path / "run", finished=False, progress=progress(state="finished"))
    assert state(run) == ("damaged", "progress.json says finished, but config.json is missing")


def test_damaged_lines_of_metrics_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "val/to')
    found = read_run(run)
    assert found is not None
    assert (found.state, found.epochs_done) == ("finished", 2)
    assert found.note == "1 damaged lines in metrics.jsonl"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    make(tmp_path / "good")
    closed = make(tmp_path / "closed")
    closed.chmod(0)
    try:
        notes = {one.run: one.note for one in find_runs(tmp_path)}
    finally:
        closed.chmod(0o755)
    assert notes[str(closed)] == "cannot be read: Permission denied"


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    """Event files, hidden folders, reports and somebody else's config.json."""
    run = make(tmp_path / "run")
    for name in ("tensorboard", ".hidden", "report", "web"):
        (run / name).mkdir()
        (run / name / "config.json").write_text('{"editor": 1}')
    (run / "tensorboard" / "metrics.jsonl").write_text("{}\n")
    assert [one.run for one in find_runs(tmp_path)] == [str(run)]


@pytest.mark.parametrize(("path", "message"), [
    ("nothing", "is no folder; give the folder that holds your runs"),
    (".", "; `finetune APP --out"),
])
def test_a_folder_without_runs_is_one_clear_line_and_exit_1(
    tmp_path: Path, cli: Cli, path: str, message: str
) -> None:
    answer = cli("runs", tmp_path / path)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.last_error
    assert answer.err.count("\n") == 1


def test_the_best_comes_first_whichever_way_a_figure_is_better(tmp_path: Path, cli: Cli) -> None:
    for name, top1, ece in (("a", 0.7, 0.02), ("b", 0.9, 0.09), ("c", 0.8, 0.05)):
        make(tmp_path / name, metrics={"top1": top1, "ece": ece})
    make(tmp_path / "d", finished=False, rows=0)

    def order(by: str) -> str:
        return "".join(one["run"][-1] for one in cli("runs", tmp_path, "--sort", by).lines)

    assert (order("top1"), order("val/top1"), order("ece"), order("run")) == ("bcad", "bcad", "acbd", "abcd")
    answer = cli("runs", tmp_path, "--sort", "topp")
    assert answer.code == 1
    assert "no run has 'topp' to sort by; there are ece, top1, run, app" in answer.last_error


WORSE = [
    ("dogs", "ece", 0.02, 0.20), ("objects", "errors/missed", 10.0, 90.0),
    ("places", "area_50_km2", 100.0, 9000.0), ("dogs", "top1", 0.9, 0.8), ("attributes", "mae/age", 2.0, 5.0),
    ("attributes", "ece/Smiling", 0.1, 0.2), ("faces", "eer", 0.01, 0.2), ("places", "mean_km", 5.0, 900.0),
    ("attributes", "ap/Male", 0.9, 0.8), ("attributes", "balanced_accuracy/Male", 0.9, 0.8),
    ("attributes", "ap/5_o_Clock_Shadow", 0.9, 0.8), ("faces", "tar@far=1e-4", 0.9, 0.8),
    ("objects", "ap/traffic light", 0.5, 0.4),
]


@pytest.mark.parametrize(("app", "metric", "good", "bad"), WORSE)
def test_a_worse_metric_is_called_worse(
    tmp_path: Path, cli: Cli, app: str, metric: str, good: float, bad: float
) -> None:
    narrow = {metric: [0.0, 1e-9]}
    for name, value in (("a", bad), ("b", good)):
        make(tmp_path / name, app=app, metrics={metric: value}, intervals=narrow)
    listed = cli("runs", tmp_path, "--sort", metric).lines
    assert [Path(run["run"]).name for run in listed] == ["b", "a"], "the best comes first"
    (answer,) = cli("runs", "--compare", tmp_path / "b", tmp_path / "a").lines
    assert answer["metrics"][metric]["better"] == [None, False]
    (answer,) = cli("runs", "--compare", tmp_path / "a", tmp_path / "b").lines
    assert answer["metrics"][metric]["better"] == [None, True]


def test_of_a_metric_of_an_application_that_is_not_here_neither_run_is_called_better(
    tmp_path: Path, cli: Cli
) -> None:
    for name, app, metric in (("a", "birds", "chirps"), ("b", "birds", "chirps"), ("c", "dogs", "top1")):
        make(tmp_path / name, app=app, metrics={metric: ord(name) / 100}, intervals={metric: [0, 1e-9]})
    (answer,) = cli("runs", "--compare", *(tmp_path / name for name in "abc")).lines
    assert answer["metrics"]["chirps"]["better"] == [None, None, None]
    assert answer["metrics"]["chirps"]["differences"] == [0.0, 0.01, None]
    table = comparison_lines(answer)[-1]
    assert table[1][2] == "0.980 (+0.010, differs)"
    answer = cli("runs", tmp_path, "--sort", "chirps")
    assert (answer.code, answer.out) == (1, "")
    assert "is not said by any application that this version knows" in answer.last_error
    sorted_by_column = cli("runs", tmp_path, "--sort", "app").lines
    assert [run["app"] for run in sorted_by_column] == ["birds", "birds", "dogs"]


UNKNOWN = [
    ("dogs", "chirps", "top1, top5, ece"), ("dogs", "ap/Male", "top1, top5, ece"),
    ("attributes", "app/Male", "mean_ap, ap/*, balanced_accuracy/*"), ("faces", "tar@fra=1e-4", "tar@far=*"),
]


@pytest.mark.parametrize(("app", "metric", "known"), UNKNOWN)
def test_a_metric_that_the_application_does_not_know_is_refused_in_one_line_that_names_those_it_knows(
    tmp_path: Path, cli: Cli, app: str, metric: str, known: str
) -> None:
    """The list goes on: such runs are of an older version, or were changed by hand."""
    for name in "ab":
        make(tmp_path / name, app=app, metrics={metric: 0.5})
    assert len(cli("runs", tmp_path).lines) == 2
    for arguments, text in (
        (["--compare", tmp_path / "a", tmp_path / "b"], f"a cannot be compared: {metric!r} is not among"),
        ([tmp_path, "--sort", metric], f"cannot sort by {metric!r}: which way it is better is not said by"),
    ):
        answer = cli("runs", *arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert text in answer.last_error and known in answer.last_error


def test_a_metric_that_is_neither_better_high_nor_low_can_be_compared_but_not_sorted_by(
    tmp_path: Path, cli: Cli
) -> None:
    for name, value in (("a", 0.2), ("b", 0.3)):
        make(tmp_path / name, app="attributes", metrics={"prevalence/Male": value})
    (answer,) = cli("runs", "--compare", tmp_path / "a", tmp_path / "b").lines
    assert answer["metrics"]["prevalence/Male"]["better"] == [None, None]
    answer = cli("runs", tmp_path, "--sort", "prevalence/Male")
    assert answer.code == 1
    assert "sort by one of mean_ap, ap/*" in answer.last_error and "prevalence" not in answer.last_error[40:]


def test_a_task_of_an_application_that_is_not_here_does_not_keep_a_joint_training_from_comparison(
    tmp_path: Path, cli: Cli
) -> None:
    tasks = {"tasks": [{"name": "who", "app": "attributes"}, {"name": "sound", "app": "birds"}]}
    for name, value in (("a", 0.9), ("b", 0.8)):
        folder = make(tmp_path / name, app="joint", metrics={"who/ap/Male": value, "sound/chirps": value})
        (folder / "tasks.json").write_text(json.dumps(tasks))
    (answer,) = cli("runs", "--compare", tmp_path / "a", tmp_path / "b").lines
    assert answer["metrics"]["who/ap/Male"]["better"] == [None, False]
    assert answer["metrics"]["sound/chirps"]["better"] == [None, None]


def test_the_best_epoch_is_that_of_the_metric_the_run_was_watched_by(tmp_path: Path) -> None:
    """Of places by geoscore or what the user named, of an application that is not here none."""
    rows = [
        {"epoch": 1, "val/loss": 1.0, "val/median_km": 900.0, "val/geoscore": 900.0},
        {"epoch": 2, "val/loss": 2.0, "val/median_km": 300.0, "val/geoscore": 1500.0},
        {"epoch": 3, "val/loss": 3.0, "val/median_km": 700.0, "val/geoscore": 1100.0},
    ]
    bests = {}
    for name, app, monitor in (
        ("default", "places", None), ("named", "places", "median_km"), ("foreign", "birds", None)
    ):
        folder = make(tmp_path / name, app=app, rows=0, metrics={}, settings={"monitor": monitor})
        for row in rows:
            run_dir.append_metrics(folder, row)
        run = read_run(folder)
        assert run is not None
        bests[name] = run.best
    assert bests == {
        "default": {"metric": "geoscore", "value": 1500.0, "epoch": 2},
        "named": {"metric": "median_km", "value": 300.0, "epoch": 2}, "foreign": None,
    }


def test_a_joint_training_is_sorted_by_the_tables_of_its_tasks(tmp_path: Path, cli: Cli) -> None:
    tasks = {"tasks": [{"name": "where", "app": "places"}, {"name": "what", "app": "dogs"}]}
    for name, km, mean in (("a", 900.0, 0.7), ("b", 100.0, 0.6)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tasks.json").write_text(json.dumps(tasks))
        (folder / "progress.json").write_text(json.dumps(progress(app="joint", state="stopped")))
        run_dir.append_metrics(folder, {
            "epoch": 1, "val/where/median_km": km, "val/what/top1": mean, "val/mean": mean,
        })
    order = [Path(run["run"]).name for run in cli("runs", tmp_path, "--sort", "where/median_km").lines]
    assert order == ["b", "a"]
    runs = cli("runs", tmp_path, "--sort", "mean").lines
    assert [Path(run["run"]).name for run in runs] == ["a", "b"]
    assert runs[0]["best"] == {"metric": "mean", "value": 0.7, "epoch": 1}


def test_a_comparison_names_what_differs_and_whether_chance_can_explain_it(tmp_path: Path, cli: Cli) -> None:
    """0.80 and 0.82 of 400 photos are within each other's noise, 0.80 and 0.93 are not."""
    for name, top1, lr in (("a", 0.80, 0.1), ("b", 0.82, 0.1), ("c", 0.93, 0.2)):
        make(tmp_path / name, metrics={"top1": top1, "ece": 0.1 - top1 / 10}, settings={"lr": lr})
    (answer,) = cli("runs", "--compare", *(tmp_path / name for name in "abc")).lines
    assert answer["settings"] == {"lr": [0.1, 0.1, 0.2]}
    assert answer["metrics"]["top1"] == {
        "values": [0.8, 0.82, 0.93], "differences": [0.0, 0.02, 0.13], "beyond_chance": [None, False, True],
        "better": [None, True, True],
    }
    assert answer["metrics"]["ece"]["beyond_chance"] == [None, None, None]
    assert answer["metrics"]["ece"]["better"] == [None, True, True]
    assert [one["run"] for one in answer["runs"]] == [str(tmp_path / name) for name in "abc"]


def test_the_intervals_of_a_run_go_before_those_of_its_number_of_photos(tmp_path: Path) -> None:
    """Halves of 3 and 4 km allow a difference of 5 km."""
    made = []
    for name, km, half in (("a", 20.0, 3.0), ("b", 15.1, 4.0), ("c", 14.9, 4.0)):
        bounds = {"median_km": [km - half, km + half]}
        made.append(
            read_run(make(tmp_path / name, app="places", metrics={"median_km": km}, intervals=bounds))
        )
    one = compare([run for run in made if run])["metrics"]["median_km"]
    assert one["beyond_chance"] == [None, False, True]
    assert one["better"] == [None, True, True]


def test_runs_to_compare_are_found_by_their_names_in_the_folder(tmp_path: Path, cli: Cli) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    (answer,) = cli("runs", tmp_path, "--compare", "a", "b").lines
    assert [one["run"] for one in answer["runs"]] == [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--compare", "a"], 2, "--compare takes two runs or more, got 1"),
    (["--compare", "a", "x"], 1, "there is no run at x nor at"),
    (["--compare", "a", "bad"], 1, "bad cannot be compared: config.json is no JSON"),
    (["--compare", "a", "bad", "--sort", "top1"], 2, "--sort is for the list"),
    (["a", "b"], 2, "or --compare with the 3 runs"),
])
def test_a_wrong_comparison_says_what_is_wanted(
    tmp_path: Path, cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    make(tmp_path / "a")
    (make(tmp_path / "bad") / "config.json").write_text("{")
    answer = cli("runs", tmp_path, *arguments)
    assert answer.code == code
    assert message in answer.err
    assert answer.out == ""


def on_terminal(*arguments: object, columns: int = 100) -> str:
    """The command line with stdout on a terminal."""
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)], stdout=slave, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, check=True, env=os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1"},
    )
    os.close(slave)
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError as err:  # how Linux tells that the other end is closed
        assert err.errno == errno.EIO, err
    os.close(master)
    assert done.stderr == b""
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 160])
def test_a_terminal_gets_a_table_with_the_reasons_below(tmp_path: Path, columns: int) -> None:
    make(tmp_path / "a")
    (make(tmp_path / "b") / "config.json").write_text("{")
    text = on_terminal("runs", tmp_path, columns=columns)
    lines = text.splitlines()
    assert all(len(line) <= columns for line in lines if line[:1] in "┏┃│└")
    assert "top1" in text
    assert "0.800" in text
    assert lines[-1] == f"{tmp_path / 'b'}: damaged: config.json is no JSON: cut off or overwritten"
    assert json.loads(on_terminal("runs", tmp_path / "a", "--json"))["state"] == "finished"


def test_a_terminal_gets_a_comparison_in_words(tmp_path: Path) -> None:
    for name, top1, lr in (("a", 0.80, 0.1), ("b", 0.82, 0.2), ("c", 0.63, 0.1)):
        make(tmp_path / name, metrics={"top1": top1}, settings={"lr": lr})
    text = on_terminal("runs", tmp_path, "--compare", "a", "b", "c", columns=300)
    assert re.search(r"│ lr +│ +0.1 │ +0.2 │ +0.1 │", text)
    words = (r"0.820 \(\+0.020, within noise\)", r"0.630 \(-0.170, worse\)")
    assert re.search(r"│ top1 +│ +0.800 │ {} +│ {} +│".format(*words), text)


def test_a_narrow_list_keeps_the_run_its_state_and_the_figure_it_is_sorted_by(tmp_path: Path) -> None:
    made = [replace(run, run="runs/x") for run in find_runs(make(tmp_path / "x"))]
    heading, row = list_lines(made, 1000, "ece")
    assert heading == [
        "run", "app", "state", "backbone", "px", "photos", "epochs", "best", "ece", "top1", "seconds", "date",
    ]
    assert row[6:11] == ["2/2", "top1 0.700 at 2", "0.050", "0.800", "20"]
    assert list_lines(made, 60, "ece")[0] == ["run", "state", "epochs", "best", "ece"]
    assert list_lines(made, 40, "ece")[0] == ["run", "state", "epochs", "ece"]
    assert list_lines(made, 1, "ece")[0] == ["run", "state", "ece"]


@pytest.mark.parametrize(("cell", "figure"), [
    ("0.5", True), ("-", True), ("3/12", True), ("2/?", True), ("1e-05", True), ("-3", True), ("", False),
    ("a", False), ("2026-11-23 10:00", False),
])
def test_figures_are_told_from_words(cell: str, figure: bool) -> None:
    assert is_figure(cell) is figure


def test_a_name_that_no_terminal_takes_is_shown_all_the_same(tmp_path: Path, cli: Cli) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff\x1b[31m"))
    make(folder)
    assert cli("runs", tmp_path).lines[0]["run"] == str(folder)
    assert printable(str(folder)).endswith("/r??[31m")
    assert "r??[31m" in on_terminal("runs", tmp_path, columns=250)


def test_a_thousand_runs_are_listed_without_torch(tmp_path: Path) -> None:
    for number in range(1000):
        make(tmp_path / f"{number % 10}" / f"{number}", classes=[f"class {n}" for n in range(200)])
    code = (
        "import sys\n"
        "from apps.cli.main import main\n"
        "main(['runs', sys.argv[1]])\n"
        "heavy = sorted({'torch', 'numpy', 'timm'} & set(sys.modules))\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert len(done.stdout.splitlines()) == 1000
    assert done.stderr.strip() == "[]"
