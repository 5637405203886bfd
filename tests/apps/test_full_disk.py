"""A disk that is really full: one line, exit code 1, the output whole or absent, and nothing else there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faces_support import draw_crops, small_parts, write_face_weights, write_table
from importing_support import trained
from people_support import crowd
from pyarrow.parquet import read_table
from support import ROOT, Answer, Cli
from task_table import CASES

from apps.engine.core.files import json_line
from apps.engine.core.run_dir import append_metrics, read_metrics
from apps.engine.inference.graph import onnx_file
from apps.faces.people.album import open_album
from datasets.outside import DiskError

Words = tuple[object, ...]
Mount = Callable[[str], None]
TINY = ("--width", 0.25, "--resolution", 32, "--epochs", 1, "--batch-size", 8, "--workers", 0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB of its own; where none can be mounted, the test is left out and says so."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount(folder, "size=16k")
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"no small file system can be mounted here: {getattr(err, 'stderr', '') or err}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(folder: Path, options: str) -> None:
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(words, capture_output=True, text=True, check=True)


def resized(folder: Path, kilobytes: int) -> None:
    """More room for what is there."""
    mount(folder, f"remount,size={kilobytes}k")


@pytest.fixture(scope="module")
def given(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of no network read, on another disk."""
    root = tmp_path_factory.mktemp("given")
    draw_crops(root / "crops", people=5, each=2)
    weights = write_face_weights(root / "faces.safetensors")
    answer = cli(*embed(root), "--out", root / "faces.parquet")
    assert answer.code == 0 and weights.is_file(), answer.err
    (root / "points.csv").write_text("lat,lon\n" + "".join(f"{n / 50},{n / 40}\n" for n in range(1, 1500)))
    torch.save(trained(0.25), root / "mobilenetv1_0.25_64.pt")
    return root


@pytest.fixture(scope="session")
def tiny_run(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the smallest network, without a file to answer from."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    answer = cli("finetune", "dogs", "--data", colours, *TINY, "--out", run)
    assert answer.code == 0, answer.err
    return run


def embed(root: Path) -> Words:
    weights = root / "faces.safetensors"
    return "embed-faces", root / "crops", "--weights", weights, "--align", "none", "--workers", 1


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_full(answer: Answer, *where: object) -> None:
    """The last line is the only error, says that the disk is full, and which file it did not take."""
    assert answer.code == 1, answer.err
    assert "Traceback" not in answer.err and "unforeseen" not in answer.err
    errors = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert errors == [answer.last_error], answer.err
    assert "No space left on device" in errors[0] and "make room" in errors[0]
    assert any(f"{path}" in errors[0] for path in where), errors


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.geojson"])
def test_cells(cli: Cli, given: Path, disk: Path, name: str) -> None:
    words = ("cells", "build", given / "points.csv", "--t-max", 2, "--t-min", 0, "--out", disk / "in" / name)
    assert_full(cli(*words), disk / "in" / name)
    assert files(disk) == []


def test_weights(cli: Cli, given: Path, disk: Path) -> None:
    out = disk / "in" / "new.safetensors"
    assert_full(cli("weights", "import", given / "mobilenetv1_0.25_64.pt", "--out", out), out)
    assert files(disk) == []


def test_clusters_are_both_files_or_none(cli: Cli, given: Path, disk: Path) -> None:
    resized(disk, 8)  # the list fits, the sheet does not
    words = ("cluster-faces", given / "faces.parquet", "--threshold", 0.5, "--out", disk / "new")
    assert_full(cli(*words), disk / "new/index.html")
    assert files(disk) == []


def test_what_was_there_stays(cli: Cli, given: Path, disk: Path) -> None:
    (disk / "new.csv").write_text("mine")
    words = ("cells", "build", given / "points.csv", "--t-max", 2, "--t-min", 0, "--out", disk / "new.csv")
    assert_full(cli(*words), disk / "new.csv")
    assert files(disk) == ["new.csv"] and (disk / "new.csv").read_text() == "mine"


def test_a_table_of_faces_leaves_nothing_or_what_a_rerun_goes_on_from(
    cli: Cli, given: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*embed(given), "--out", disk / "new.parquet")
    assert_full(cli(*words), disk / ".new.parquet.parts")
    assert files(disk) == []
    small_parts(monkeypatch, 2)
    resized(disk, 36)
    answer = cli(*words)
    assert_full(answer, disk / ".new.parquet.parts")
    assert "of at most 2 photos stay in" in answer.err and "goes on from there" in answer.err
    kept = [name for name in files(disk) if "parts/part-0" in name]
    assert kept and all(name.startswith(".new.parquet.parts") for name in files(disk))
    resized(disk, 1024)
    assert cli(*words).code == 0
    assert files(disk) == ["new.parquet", "new.photos.parquet", "new.problems.jsonl"]
    tables = [read_table(folder / name) for folder, name in ((disk, "new.parquet"), (given, "faces.parquet"))]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("closed", [False, True])
def test_an_answer_that_does_not_fit(disk: Path, closed: bool) -> None:
    """Also where the error goes onto the same disk: no traceback, and no code of the interpreter's."""
    (disk / "filler").write_bytes(bytes(16 << 10))
    with (disk / "answers").open("wb") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), "weights", "list"], stdout=full,
            stderr=subprocess.STDOUT if closed else subprocess.PIPE, check=False, timeout=500,
        )
    assert done.returncode == 1
    if not closed:
        assert_full(Answer(done.returncode, "", done.stderr.decode()), "stdout")


def test_what_is_kept_beside_a_table_for_the_next_time_may_not_fit(
    disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The laid-out vectors and the last clusters are made again when they are wanted."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    table = write_table(disk / "f.parquet", crowd(), fingerprint="0123456789abcdef")
    resized(disk, sum(-(-path.stat().st_size // 4096) * 4 for path in disk.iterdir()))
    album = open_album(table, threshold=0.5)
    assert len(album.people) == 4 and files(disk) == ["f.parquet"]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_reports_and_exports(cli: Cli, colours: Path, tiny_run: Path, disk: Path) -> None:
    answer = cli("evaluate", "dogs", "--checkpoint", tiny_run, "--report", disk / "new")
    assert answer.lines[0]["metrics"] and "report could not be written" in answer.err  # the answer stands
    assert_full(answer, disk / "new/report.html")
    assert files(disk) == []
    both = ("check", "dogs", colours, "--no-network", "--fix", disk / "fix.csv", "--report", disk / "new")
    assert_full(cli(*both), disk / "new/report.html")  # the table fits, the page does not: neither stays
    assert files(disk) == []
    assert_full(cli("check", "dogs", colours, "--report", disk / "new"), disk / "new/report.html")
    assert files(disk) == []
    export = ("export", tiny_run, "--to", "onnx", "--out", disk / "in/new.onnx")
    assert_full(cli(*export), disk / "in/new.onnx")
    assert files(disk) == []
    resized(disk, 4096)
    answer = cli(*export)
    assert answer.code == 0 and len(files(disk)) == 5, answer.err
    shutil.rmtree(disk / "in")
    resized(disk, -(-answer.lines[0]["bytes"] // 4096) * 4)  # the network fits, what is beside it does not
    assert_full(cli(*export), disk / "in")
    assert files(disk) == []


def test_parts_are_whole_and_a_job_without_one_leaves_nothing(
    cli: Cli, colours: Path, colour_run: Path, disk: Path
) -> None:
    words = ("predict", colours, "--checkpoint", colour_run, "--out", disk / "new")
    (disk / "filler").write_bytes(bytes(16 << 10))
    assert_full(cli(*words), disk / "new/job.json")
    assert files(disk) == ["filler"]
    (disk / "filler").write_bytes(bytes(12 << 10))  # room for the note on the job, and for no part
    assert_full(cli(*words), disk / "new")
    assert files(disk) == ["filler"]
    (disk / "filler").unlink()
    resized(disk, 64)
    assert cli(*words).code == 0
    assert {name.partition("-")[0] for name in files(disk)} == {"new", "new/job.json", "new/part"}


@pytest.mark.slow
def test_pictures_of_objects_are_whole_or_absent(cli: Cli, disk: Path, tmp_path: Path) -> None:
    data = CASES["objects"].data(tmp_path / "boxes")
    run = tmp_path / "run"
    more = CASES["objects"].options
    assert cli("finetune", "objects", "--data", data, *TINY, *more, "--out", run).code == 0
    for flag in ("--draw", "--crops"):
        answer = cli("detect", data, "--checkpoint", run, "--threshold", 0, "--top", 3, flag, disk / "new")
        assert_full(answer, disk / "new")
        assert all(path.stat().st_size for path in (disk / "new").glob("*"))
        assert not [name for name in files(disk) if name.startswith("new/.")]
        for path in (disk / "new").glob("*"):
            path.unlink()


@pytest.mark.slow
def test_a_training_goes_on_where_the_disk_was_full(
    cli: Cli, colours: Path, tiny_run: Path, disk: Path
) -> None:
    out = disk / "run"
    words = ("finetune", "dogs", "--data", colours, *TINY, "--out", out)
    assert_full(cli(*words), out)
    assert files(disk) == []
    resized(disk, 1400)  # enough for the state of the training, not for the model beside it
    answer = cli(*words)
    assert_full(answer, out)
    assert f"then --resume --out {out} writes it" in answer.last_error
    assert {"run/model.safetensors", "run/config.json"}.isdisjoint(files(disk))
    resized(disk, 4096)
    answer = cli(*words, "--resume")
    assert answer.code == 0, answer.err
    assert (out / "model.safetensors").read_bytes() == (tiny_run / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_without_its_file_to_answer_from_is_no_success(
    cli: Cli, colours: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only ``model.onnx`` meets the full disk: its write is the last, and rooms differ by library."""
    out = tmp_path / "run"
    write = onnx_file.write_bytes

    def full(path: Path, data: bytes) -> Path:
        raise DiskError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    words = ("finetune", "dogs", "--data", colours, *TINY, "--export", "--out", out)
    monkeypatch.setattr(onnx_file, "write_bytes", full)
    answer = cli(*words)
    assert_full(answer, out / "model.onnx")
    assert answer.lines[0]["metrics"] and f"--resume --out {out} writes it" in answer.last_error
    assert (out / "config.json").is_file() and not list(out.glob("*.onnx"))
    monkeypatch.setattr(onnx_file, "write_bytes", write)
    assert cli("finetune", "dogs", "--resume", "--export", "--out", out).code == 0
    assert (out / "model.onnx").is_file()
    assert (out / "model.safetensors").read_bytes() == (tiny_run / "model.safetensors").read_bytes()


def test_a_row_of_metrics_is_whole_or_not_there(disk: Path) -> None:
    row = {"epoch": 1, "note": "x" * 3000}
    with pytest.raises(DiskError, match=r"metrics.jsonl: the disk is full"):
        for _ in range(20):
            append_metrics(disk, row)
    assert len((disk / "metrics.jsonl").read_text()) % len(json_line(row) + "\n") == 0
    assert read_metrics(disk) == [row] * 5
    (disk / "metrics.jsonl").rename(disk / "filler")
    (disk / "filler").write_bytes(bytes(16 << 10))
    with pytest.raises(DiskError):
        append_metrics(disk, row)
    assert files(disk) == ["filler"]
