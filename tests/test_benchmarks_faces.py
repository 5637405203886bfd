"""The benchmarks of the faces run from the command line, on little, and compare like with like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faces_support import write_face_weights

from benchmarks import faces_search
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


@pytest.mark.slow
def test_the_two_routes_are_timed_on_the_same_photos(
    capsys: pytest.CaptureFixture[str], shared: Path, tmp_path: Path
) -> None:
    weights = write_face_weights(tmp_path / "tiny.safetensors")
    photos = shared / "data/faces_colour/images/Tony_Blair"
    given = ("--photos", str(photos), "--weights", str(weights), "--count", "4", "--rounds", "1")
    assert main(["faces", *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["photos"] == 4
    for route in ("facenet", "ours"):
        assert 0 < found[route]["embedding_seconds"] < found[route]["whole_seconds"]
