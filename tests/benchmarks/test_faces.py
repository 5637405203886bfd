"""The benchmarks of the faces run from the command line, on little, and compare like with like."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from support import Cli

from benchmarks import faces, faces_search
from benchmarks.__main__ import main


def test_the_search_beside_faiss_finds_the_same_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(faces_search, "CLUSTERED", 60)
    monkeypatch.setattr(faces_search, "PEOPLE", 9)
    monkeypatch.setattr(faces_search, "AT_ONCE", 3000)
    given = ("--faces", "7000", "--beside-faiss", "5000", "--queries", "20", "--rounds", "1")
    assert main(["faces-search", *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["faces"], found["beside_faiss"], found["same_rows"]) == (7000, 5000, 1.0)
    assert found["ours_cpu_seconds"] > 0


def test_the_search_at_size_finds_what_float32_finds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--faces", "5000", "--queries", "5", "--rounds", "1", "--folder", str(tmp_path))
    assert main(["search-size", *given]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["way"] for row in rows if "way" in row} == {
        "codes_one", "codes_many", "float32_one", "float32_many"
    }
    assert rows[-1]["recall_of_search"] == 1
    assert rows[-1]["largest_difference"] == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.long
def test_the_routes_are_timed_on_the_same_photos(
    cli: Cli, student: Path, capsys: pytest.CaptureFixture[str], shared: Path, tmp_path: Path
) -> None:
    """Each detector, with the network and with its exported file."""
    photos, file = shared / "data/faces_colour/images/Tony_Blair", tmp_path / "int8.onnx"
    how = ("--to", "onnx", "--precision", "int8", "--calibrate", photos)
    assert cli("export", student, *how, "--out", file).code == 0
    given = ("--photos", str(photos), "--checkpoint", str(student), "--onnx", str(file), "--rounds", "1")
    assert main(["faces", *given, "--count", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {"mtcnn", "mtcnn, exported", "ssd", "ssd, exported"}
    assert (found["photos"], set(found["times_as_fast"])) == (4, names)
    for route in ("facenet", *names):
        assert 0 < found[route]["embedding_seconds"] < found[route]["whole_seconds"]
        assert found[route]["peak_memory_mb"] > 50
    for route in names:
        assert found[route]["finding_seconds"] > 0


def test_one_detector_without_an_exported_file_is_one_route(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    faces.add_options(parser)
    options = parser.parse_args(["--photos", str(tmp_path), "--detector", "ssd"])
    assert list(faces.routes_of(options)) == ["facenet", "ssd"]
