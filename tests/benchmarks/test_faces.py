"""The benchmarks of the faces run from the command line, on little, and compare like with like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from faces_support import write_face_weights
from PIL import Image

from benchmarks import faces_search
from benchmarks.__main__ import main
from benchmarks.faces import exported_network


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


def write_mean_of_colours(path: Path, *, batch: int | str, kind: str) -> Path:
    """A network that gives the mean of each colour, as an ONNX file."""
    onnx = pytest.importorskip("onnx")
    types = {"bytes": onnx.TensorProto.UINT8, "floats": onnx.TensorProto.FLOAT}
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("GlobalAveragePool", ["floats"], ["mean"]),
        onnx.helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "mean",
        [onnx.helper.make_tensor_value_info("images", types[kind], [batch, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("vector", onnx.TensorProto.FLOAT, [batch, 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("kind", "scale"), [("bytes", 255), ("floats", 1)])
@pytest.mark.parametrize("batch", ["any", 1])
def test_an_exported_network_gets_the_crops_as_its_input_wants_them(
    tmp_path: Path, kind: str, scale: float, batch: int | str
) -> None:
    answer = exported_network(write_mean_of_colours(tmp_path / "a.onnx", batch=batch, kind=kind), threads=1)
    crops = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 51, 102))]
    expected = np.array([(1, 0, 0), (0, 0.2, 0.4)]) * scale
    np.testing.assert_allclose(answer(crops), expected, atol=1e-5)
