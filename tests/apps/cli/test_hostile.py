"""Hostile files and numbers on the command line: one line, the right exit code, no hang."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import Cli

from apps.cli import main as command_line
from apps.engine.core.files import sha256_of
from apps.engine.inference.seal import SUM
from apps.faces.extraction.sources import find_sources
from apps.places.cells.files import read_cells, write_cells


@pytest.fixture(scope="module")
def run(cli: Cli, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "colours"
    answer = cli(
        "finetune", "dogs", "--data", colours, "--epochs", 1, "--resolution", 32, "--batch-size", 8,
        "--workers", 0, "--out", out,
    )
    assert answer.code == 0, answer.err
    return out


@pytest.fixture
def changed(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def photo_of(colours: Path) -> Path:
    return next((colours / "val").rglob("*.png"))


def test_the_exit_code_is_never_taken_from_a_foreign_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HTTPError("http://x", 404, "Not Found", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(command_line.cli, "main", fail)
    answer = cli("doctor")
    assert answer.code == 1 and answer.err.startswith("error: HTTP Error 404")


@pytest.mark.parametrize("words", [
    ("cells", "build", "PIPE", "--t-max", 5, "--t-min", 0, "--out", "c.csv"), ("cells", "report", "PIPE"),
    ("predict", "PIPE", "--checkpoint", "RUN"), ("predict", "PHOTO", "--model", "PIPE"),
    ("predict", "PHOTO", "--weights", "PIPE"), ("search-faces", "PHOTO", "--gallery", "PIPE"),
    ("evaluate", "places", "--predictions", "PIPE"), ("finetune", "dogs", "--config", "PIPE"),
    ("finetune", "dogs", "--config", "/dev/zero"), ("predict", "PHOTO", "--weights", "/dev/zero"),
    ("weights", "import", "/dev/zero"), ("runs", "PIPES"),
])
def test_no_command_waits_for_a_pipe_or_reads_a_device(
    cli: Cli, run: Path, colours: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("pipe.onnx", "runs/config.json", "runs/metrics.jsonl"):
        os.mkfifo(tmp_path / name)
    places = {"PIPE": tmp_path / "pipe.onnx", "PHOTO": photo_of(colours), "RUN": run, "PIPES": tmp_path}
    answer = cli(*(places.get(str(word), word) for word in words))
    if words[0] == "runs":
        assert answer.code == 0 and "regular file" in answer.out
        return
    assert answer.code in (1, 2)
    assert "regular file" in answer.err + answer.out or "no file" in answer.last_error
    assert "unforeseen" not in answer.err


def test_a_folder_with_pipes_in_it_is_read_without_them(
    cli: Cli, run: Path, colours: Path, tmp_path: Path
) -> None:
    shutil.copy(photo_of(colours), tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    answer = cli("predict", tmp_path, "--checkpoint", run)
    lines = {Path(line["path"]).name: line for line in map(json.loads, answer.out.splitlines())}
    assert answer.code == 0 and lines.keys() == {"a.png", "pipe.png"}
    assert lines["pipe.png"]["error"] == "not a regular file"


@pytest.mark.parametrize(("words", "why"), [
    (("finetune", "dogs", "--workers", 99_999_999), "at most 256, as each is a process"),
    (("finetune", "dogs", "--epochs", 10**23), "at most 100000, as no training lasts so long"),
    (("predict", "x.png", "--workers", 99_999_999), "each is a process or a thread"),
    (("embed-faces", "x.png", "--out", "f.parquet", "--workers", 10**9), "each is a thread"),
    (("predict", "x.png", "--top", 10**12), "all are kept for each image"),
])
def test_counts_have_bounds_with_a_reason(cli: Cli, words: tuple[object, ...], why: str) -> None:
    answer = cli(*words)
    assert answer.code == 2 and why in answer.err


@pytest.mark.parametrize("name", ["config.json", "progress.json", "metrics.jsonl"])
def test_one_damaged_run_is_a_line_of_the_list(cli: Cli, changed: Path, name: str) -> None:
    bad = changed.parent / "bad"
    shutil.copytree(changed, bad)
    (bad / name).write_text("[" * 100_000)
    answer = cli("runs", changed.parent)
    states = {Path(line["run"]).name: line for line in map(json.loads, answer.out.splitlines())}
    assert answer.code == 0 and states["run"]["state"] == "finished"
    assert states["bad"]["state"] == "damaged" or "1 damaged lines" in states["bad"]["note"]


def test_weights_that_are_not_finite_are_refused_at_load_in_one_line(
    cli: Cli, changed: Path, colours: Path
) -> None:
    state = load_file(changed / "model.safetensors")
    name = next(key for key in state if key.endswith("weight"))
    state[name] = torch.full_like(state[name], torch.nan)
    save_file(state, changed / "model.safetensors")
    config = json.loads((changed / "config.json").read_text())
    config["model_sha256"] = sha256_of(changed / "model.safetensors")
    (changed / "config.json").write_text(json.dumps(config))
    (changed / "model.onnx").unlink(missing_ok=True)
    answer = cli("predict", photo_of(colours), "--checkpoint", changed)
    assert answer.code == 1 and answer.out == ""
    assert "holds numbers that are not finite" in answer.last_error


def test_a_model_file_that_answers_nothing_finite_gives_no_json_but_an_error(
    cli: Cli, changed: Path, colours: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    path = changed / "answers.onnx"
    assert cli("export", changed, "--out", path).code == 0
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            values = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for entry in [entry for entry in model.metadata_props if entry.key == SUM]:
        model.metadata_props.remove(entry)  # as a file has none that is not of ours
    onnx.save(model, path)
    answer = cli("predict", photo_of(colours), "--model", path)
    assert answer.code == 1 and answer.out, answer.err
    (line,) = map(json.loads, answer.out.splitlines())
    assert "no finite numbers" in line["error"]


@pytest.mark.parametrize(("change", "message"), [
    ({"arch": "timm:resnet18", "arguments": {"pretrained": True}}, "sets 'pretrained', which a file may not"),
    ({"arguments": {"width": 300}}, "width must be a number from 0.001 to 4, got 300"),
    ({"arch": "timm:hf-hub:someone/net"}, "there is no network"), ({"arguments": []}, "must be a table"),
])
def test_a_run_builds_nothing_else_than_known_networks(
    cli: Cli, changed: Path, colours: Path, change: dict[str, object], message: str
) -> None:
    config = json.loads((changed / "config.json").read_text())
    config["backbone"] |= change
    (changed / "config.json").write_text(json.dumps(config))
    answer = cli("predict", photo_of(colours), "--checkpoint", changed, "--engine", "torch")
    assert answer.code == 1 and message in answer.last_error and "config.json" in answer.last_error
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("weight", ["inf", "nan", "1e308", "-1"])
def test_cells_without_a_weight_are_refused_and_never_written_as_nan(tmp_path: Path, weight: str) -> None:
    path, out = tmp_path / "cells.csv", tmp_path / "cells.geojson"
    path.write_text(f"token,weight,t_max,t_min,min_level,max_level,total\n47a1,{weight},9,1,2,30,9\n")
    if weight == "nan":  # as blank: one
        write_cells(out, read_cells(path))
        assert "NaN" not in out.read_text()
        return
    with pytest.raises(ValueError, match=r"cells.csv has no cells .*weight must be 0 to 1e\+15"):
        read_cells(path)


@pytest.mark.parametrize("size", [2**33, 2**62, 2**70])
def test_a_tar_whose_members_are_larger_than_it_is_refused(tmp_path: Path, size: int) -> None:
    header = tarfile.TarInfo("a.jpg")
    header.size = size
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match=r"a.tar is not a whole tar file \(a.jpg says that it has .* bytes"):
        find_sources([str(path)], None)


def test_a_list_from_a_closed_stdin_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reads a list of photos from stdin, which is closed"):
        find_sources(["-"], None)


def test_limits_of_cells_are_finite(cli: Cli, tmp_path: Path) -> None:
    answer = cli("cells", "build", tmp_path, "--t-max", "inf", "--t-min", 0, "--out", tmp_path / "c.csv")
    assert answer.code == 2 and "expected a finite t_max, got inf" in answer.err


@pytest.mark.parametrize("name", ["pipe.csv", "folder.csv", "device.csv"])
def test_no_output_takes_the_place_of_a_pipe_a_device_or_a_folder(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "device.csv").symlink_to("/dev/null")
    (tmp_path / "points.csv").write_text("lat,lon\n1,2\n3,4\n")
    words = ("cells", "build", tmp_path / "points.csv", "--t-max", 5, "--t-min", 0)
    before = (tmp_path / name).lstat().st_ino
    answer = cli(*words, "--out", tmp_path / name)
    assert answer.code == 1 and len(answer.err.splitlines()) == 1
    assert f"{tmp_path / name}" in answer.err
    assert "give the name of a file" in answer.err or "give a file" in answer.err
    assert (tmp_path / name).lstat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "device.csv", "folder.csv", "pipe.csv", "points.csv"
    ]


@pytest.mark.parametrize(("name", "why"), [
    ("n" * 10_000, "File name too long; give a shorter name"), ("a\0b", "holds a null byte"),
])
def test_names_that_no_file_has_are_one_line_that_says_how_to_mend_it(
    cli: Cli, run: Path, colours: Path, tmp_path: Path, name: str, why: str
) -> None:
    photo = photo_of(colours)
    for words in (
        ("predict", photo, "--checkpoint", name), ("predict", photo, "--model", f"{name}.onnx"),
        ("runs", name), ("export", run, "--out", tmp_path / f"{name}.onnx"), ("weights", "import", name),
    ):
        answer = cli(*words)
        assert answer.code == 1 and why in answer.err and "Errno" not in answer.err, (words, answer.err)
        assert len(answer.err.splitlines()) == 1, answer.err


def test_a_command_that_fails_leaves_no_folder_that_it_made(
    cli: Cli, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    out = tmp_path / "a/b/c.parquet"
    answer = cli("embed-faces", tmp_path / "x.png", "--out", out, "--weights", weights, "--align", "none")
    assert answer.code == 1 and "nothing was written" in answer.err
    assert not (tmp_path / "a").exists()
