"""Where a run begins: by ``--resume`` where nothing is there yet, in a numbered folder, by a second name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import Cli

from apps.cli.main import cli as commands
from apps.engine.core.files import numbered_folder

SMALL = ("--resolution", 32, "--batch-size", 8, "--width", 0.25, "--workers", 0, "--epochs", 2, "--no-export")


def test_resume_begins_where_nothing_is_there_yet_and_goes_on_then(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    command = ("finetune", "classes", "--data", colours, *SMALL, "--resume", "--stop-after", 1, "--out", run)
    first, second = cli(*command), cli(*command)
    assert first.code == 0 and "the run begins" in first.err and first.lines[0]["epochs_done"] == 1
    assert second.code == 0 and "top1" in second.lines[0]["metrics"] and second.lines[0]["app"] == "dogs"


def test_a_folder_of_something_else_is_not_begun_in(cli: Cli, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--resume", "--out", tmp_path)
    assert answer.code == 1 and "nothing to resume" in answer.last_error
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_trainings_that_start_at_once_take_numbered_folders(tmp_path: Path) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        def taken(_: int) -> Path:
            return stack.enter_context(numbered_folder(tmp_path / "runs", "dogs"))

        folders = list(pool.map(taken, range(8)))
        assert {folder.name for folder in folders} == {"dogs", *(f"dogs-{n}" for n in range(2, 9))}
        (folders[0] / "model").write_text("kept")
    assert list((tmp_path / "runs").iterdir()) == [folders[0]]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="give another with --out"), numbered_folder(tmp_path / "file", "dogs"):
        pass


def test_help_says_that_classes_need_not_be_dogs(cli: Cli) -> None:
    group = commands.commands["finetune"]
    assert "classes" in group.list_commands(None)  # type: ignore[arg-type]
    assert "or any classes of your own" in " ".join(cli("finetune", "dogs", "--help").out.split())


def test_check_knows_the_second_name(cli: Cli, colours: Path) -> None:
    answer, first = (cli("check", name, colours, "--no-network") for name in ("classes", "dogs"))
    same, dogs = ([line | {"seconds": None} for line in said.lines] for said in (answer, first))
    assert answer.code == first.code == 0 and same == dogs, answer.err
