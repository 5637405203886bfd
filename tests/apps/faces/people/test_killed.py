"""Commands of people killed at every moment at which a file is about to change: nothing is half there."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from faces_support import small_parts, write_table
from people_support import crowd, names, sign
from support import Cli

from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.upkeep import finish_forgetting
from apps.faces.people.corrections import read_corrections

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that begin as copies"),
]


def run_and_die(cli: Cli, command: tuple[object, ...], moment: int) -> None:
    """Run a command that is killed, without a word, before its ``moment``-th change of a file."""
    left = moment

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*rest: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*rest, **more)

        return call

    for name in ("replace", "unlink", "rename", "rmdir"):
        setattr(Path, name, dying(getattr(Path, name)))
    os.fsync = dying(os.fsync)
    cli(*command)
    os._exit(0)


def killed(cli: Cli, command: tuple[object, ...], moment: int) -> bool:
    """Whether the command was killed; False where it was done before."""
    child = multiprocessing.get_context("fork").Process(target=run_and_die, args=(cli, command, moment))
    child.start()
    child.join(timeout=60)
    return child.exitcode == -signal.SIGKILL


@pytest.fixture
def folder(cli: Cli, tmp_path: Path) -> Path:
    """A table of four people, the first of whom has a name, on a sheet."""
    start = tmp_path / "start"
    start.mkdir()
    table = write_table(start / "faces.parquet", crowd())
    cli("cluster-faces", table, "--out", start / "sheet", "--threshold", 0.5)
    cli("people", "name", table, sign(table, 0), "Ada")
    return start


def every_moment(cli: Cli, folder: Path, command: Callable[[Path], tuple[object, ...]]) -> list[Path]:
    """The folders that a command leaves, killed at one moment after the other."""
    left = []
    for moment in range(60):
        copy = folder.with_name(f"killed-{moment}")
        shutil.copytree(folder, copy)
        if not killed(cli, command(copy / "faces.parquet"), moment):
            break
        left.append(copy)
    assert len(left) >= 3
    return left


def test_a_killed_correction_is_there_or_not(cli: Cli, folder: Path) -> None:
    for copy in every_moment(cli, folder, lambda table: ("people", "name", table, sign(table, 5), "Bob")):
        table = copy / "faces.parquet"
        assert pq.read_table(table).num_rows == 10
        assert len(read_corrections(table).entries) in (1, 2)
        assert cli("people", "name", table, sign(table, 5), "Bob").code == 0
        assert names(cli, table) == {"Ada": 5, "Bob": 3}


def test_a_killed_forget_loses_no_other_face_and_can_be_finished(cli: Cli, folder: Path) -> None:
    for copy in every_moment(cli, folder, lambda table: ("people", "forget", table, "Ada")):
        table = copy / "faces.parquet"
        assert pq.read_table(table).num_rows in (5, 10)
        with ResumableJob(table).locked():
            finish_forgetting(table)
        if pq.read_table(table).num_rows == 10:
            assert cli("people", "forget", table, "Ada").code == 0
        assert pq.read_table(table).num_rows == 5
        assert names(cli, table) == {None: 3}
        assert not read_corrections(table).unfinished


class DeadError(BaseException):
    """Raised where a killed process would be no more; no file changes after it."""


def dead_after(patch: pytest.MonkeyPatch, moment: int) -> None:
    """All changes of files fail from the ``moment``-th on, those of tidying up, too."""
    left = moment

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*rest: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise DeadError
            return change(*rest, **more)

        return call

    for name in ("replace", "unlink", "rename", "rmdir", "mkdir"):
        patch.setattr(Path, name, dying(getattr(Path, name)))
    patch.setattr(os, "fsync", dying(os.fsync))
    patch.setattr(shutil, "rmtree", dying(shutil.rmtree))


def test_enroll_over_a_broken_off_run_is_killed_at_every_moment_and_loses_nothing(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = ("--align", "none")
    start = tmp_path / "start"
    start.mkdir()
    photo = crops / "PERSON_0/PERSON_0_0001.png"
    command = ("embed-faces", crops, "--out", start / "faces.parquet", "--weights", weights, *ready)
    first = cli("embed-faces", photo, "--out", tmp_path / "first.parquet", "--weights", weights, *ready)
    assert first.code == 0, first.err  # the file to answer from, which is made once, is there
    small_parts(monkeypatch, 4)
    with monkeypatch.context() as patch:
        dead_after(patch, 12)  # a part or two are done
        with pytest.raises(DeadError):
            cli(*command)
    assert list(start.glob(".faces.parquet.parts/part-0*.parquet"))
    ends = 0
    for moment in range(0, 80, 2):
        copy = tmp_path / f"killed-{moment}"
        shutil.copytree(start, copy)
        table = copy / "faces.parquet"
        again = ("enroll", "Ada", photo, "--gallery", table, "--weights", weights, *ready)
        with monkeypatch.context() as patch:
            dead_after(patch, moment)
            with contextlib.suppress(DeadError):
                ends += cli(*again).code == 0
        if table.exists():
            assert pq.read_table(table).num_rows >= 1
        assert cli(*again).code == 0 or ends
        answer = cli("embed-faces", crops, "--out", table, "--weights", weights, *ready)
        assert (answer.code, answer.lines[0]["faces"]) == (0, 12), answer.err
        rows = pq.read_table(table, columns=["path", "name"]).to_pylist()
        assert [row["path"] for row in rows if row["name"] == "Ada"] == [str(photo)]
        assert not list(copy.glob(".faces.parquet.parts*"))
        if ends:
            break
    assert ends, "the last moment lies behind the end"
    assert moment > 20
