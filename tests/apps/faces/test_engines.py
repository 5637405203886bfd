"""``--engine`` and ``--device`` of the commands on faces: one choice for finding and for embedding."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import write_face_weights
from support import Cli

ENGINES = ("auto", "onnxruntime", "openvino", "torch")


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    return sorted((shared / "data" / "faces_colour" / "images" / "Tony_Blair").glob("*.jpg"))[:2]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def tables(
    cli: Cli, photos: list[Path], small: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A table by each engine."""
    folder = tmp_path_factory.mktemp("tables")
    for engine in ENGINES:
        out = folder / f"{engine}.parquet"
        answer = cli("embed-faces", *photos, "--weights", small, "--engine", engine, "--out", out)
        assert answer.code == 0, answer.err
    return {engine: folder / f"{engine}.parquet" for engine in ENGINES}


def test_every_engine_finds_the_same_faces_and_gives_the_same_vectors(tables: dict[str, Path]) -> None:
    wanted = pq.read_table(tables["auto"]).to_pylist()
    assert len(wanted) >= 2
    for engine in ENGINES[1:]:
        rows = pq.read_table(tables[engine]).to_pylist()
        assert [row["path"] for row in rows] == [row["path"] for row in wanted]
        for name, within in (("box", 0.05), ("landmarks", 0.05), ("vector", 1e-4)):
            ours, theirs = (np.array([row[name] for row in part]) for part in (rows, wanted))
            np.testing.assert_allclose(ours, theirs, atol=within, err_msg=f"{engine} {name}")


def test_openvino_needs_no_onnx_runtime(
    cli: Cli, photos: list[Path], small: Path, tables: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither for the detector nor for the network that embeds: both take what was asked for."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    how = ("--engine", "openvino")
    given = ("--weights", small, "--threshold", 0.5, *how)
    assert cli("verify-faces", photos[0], photos[0], *given).lines[0]["similarity"] > 0.999
    (line,) = cli("search-faces", photos[1], "--gallery", tables["auto"], *given).lines
    assert line["gallery_faces"] >= 2
    out = tmp_path / "gallery.parquet"
    answer = cli("enroll", "Tony", photos[0], "--gallery", out, "--weights", small, *how)
    assert (answer.code, answer.lines[0]["faces"]) == (0, 1), answer.err
    answer = cli("verify-faces", photos[0], photos[0], "--weights", small, "--threshold", 0.5)
    assert (answer.code, answer.last_error) == (
        1, "error: onnxruntime is not installed; install it: pip install onnxruntime"
    )


@pytest.mark.parametrize(("how", "words"), [
    (("--engine", "onnxruntime", "--device", "cuda"), "there is no device 'cuda' for onnxruntime here"),
    (("--engine", "openvino", "--device", "mps"), "there is no device 'mps' for openvino here"),
    (("--engine", "torch", "--device", "mps"), "there is no device 'mps' here; there are: cpu"),
    (("--device", "mps"), "there is no device 'mps' here; there are: cpu"),
])
def test_a_device_that_is_not_there_is_one_line_and_nothing_is_written(
    cli: Cli, photos: list[Path], small: Path, tables: dict[str, Path], tmp_path: Path,
    how: tuple[str, ...], words: str,
) -> None:
    out = tmp_path / "made" / "faces.parquet"
    for command in (
        ("embed-faces", *photos, "--out", out), ("verify-faces", *photos, "--threshold", 0.5),
        ("search-faces", photos[0], "--gallery", tables["auto"], "--threshold", 0.5),
        ("enroll", "Tony", photos[0], "--gallery", out),
    ):
        answer = cli(*command, "--weights", small, *how)
        assert (answer.code, answer.out) == (1, ""), command
        assert answer.last_error.startswith(f"error: {words}"), answer.err
    assert not out.parent.exists()


def test_a_run_without_a_file_is_refused_by_the_engine_that_needs_one(
    cli: Cli, student: Path, photos: list[Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(student, run)
    (run / "model.onnx").unlink(missing_ok=True)
    answer = cli("verify-faces", *photos, "--checkpoint", run, "--threshold", 0.5, "--engine", "onnxruntime")
    assert answer.code == 1
    words = f"engine 'onnxruntime' cannot answer: {run} has no exported file of its own"
    assert answer.last_error == f"error: {words}"
    answer = cli(
        "verify-faces", photos[0], photos[0], "--checkpoint", run, "--threshold", 0.5, "--engine", "torch"
    )
    assert answer.lines[0]["similarity"] > 0.999
