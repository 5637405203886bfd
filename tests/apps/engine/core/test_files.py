"""Locks of folders: one process at a time, and none for the dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from apps.engine.core.files import only_process
from apps.engine.inference.made_once import cached

HOLDER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from apps.engine.core.files import only_process
with only_process(Path({folder!r})):
    child = os.fork()  # as a process that reads photos, which outlives a killed training for a while
    if child == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_kept_off_and_a_killed_one_holds_nothing_though_its_workers_live(
    tmp_path: Path,
) -> None:
    code = HOLDER.format(root=str(ROOT), folder=str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(FileExistsError, match="another process is training into"), only_process(tmp_path):
            pass
        holder.kill()
        holder.wait()
        os.kill(child, 0)  # it lives
        with only_process(tmp_path):
            pass
    finally:
        os.kill(child, 9)
        holder.stdout.close()


def test_an_error_inside_is_not_taken_for_the_lock_and_frees_it(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="of the work"), only_process(tmp_path):
        raise TimeoutError("of the work")
    with only_process(tmp_path):
        pass


def test_a_damaged_file_of_the_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path))
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"network"

    path = cached("a.onnx", make)
    assert cached("a.onnx", make) == path and len(made) == 1
    for damage in (b"netwark", b""):
        path.write_bytes(damage)
        assert cached("a.onnx", make).read_bytes() == b"network"
    assert len(made) == 3


def test_a_cache_that_cannot_be_written_says_where_to_point_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write to .*models .*MOBILENET_APPS_CACHE"):
        cached("a.onnx", bytes)
