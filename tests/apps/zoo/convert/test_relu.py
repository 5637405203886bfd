"""TFLite files with plain ReLU: drawn ones, and Visual Wake Words as MLCommons publishes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
import torch
from importing_support import trained, write_float
from support import Cli

from apps.engine.core.model import load_pretrained
from backbone import load_weights
from backbone.pretrained import PERSON, REGISTRY

RELU = tflite.ActivationFunctionType.RELU


def test_a_drawn_file_with_relu_is_imported_with_the_names_of_its_classes(cli: Cli, tmp_path: Path) -> None:
    state = trained()
    write_float(tmp_path / "relu.tflite", state, activation=RELU)
    count = len(load_names(state))
    (tmp_path / "labels.txt").write_text("".join(f"class {number}\n" for number in range(count)))
    out = tmp_path / "relu.safetensors"
    answer = cli("weights", "import", tmp_path / "relu.tflite", "--input", "unit", "--out", out,
                 "--labels", tmp_path / "labels.txt")  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.lines[0]["parity"]["direct"]["max_difference"] <= 1e-3
    info = load_weights(out).info
    assert info.arguments["activation"] == "relu"
    assert (info.preprocessing.mean, info.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    assert info.classes == tuple(f"class {number}" for number in range(count))
    (tmp_path / "labels.txt").write_text("one\none\n")
    answer = cli("weights", "import", tmp_path / "relu.tflite", "--out", tmp_path / "x.safetensors",
                 "--labels", tmp_path / "labels.txt")  # fmt: skip
    assert answer.code == 1 and len(answer.err.splitlines()) == 1
    assert "names 1 classes" in answer.err and not (tmp_path / "x.safetensors").exists()


def load_names(state: dict[str, torch.Tensor]) -> range:
    return range(len(state["classifier.bias"]))


@pytest.fixture(scope="module")
def person(cli: Cli, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("person") / f"{PERSON}.safetensors"
    answer = cli("weights", "import", shared / "weights" / "vww_96_float.tflite", "--out", out)
    assert answer.code == 0, answer.err
    return out, answer.lines[0]


def test_visual_wake_words_answers_as_litert_does(shared: Path, person: tuple[Path, dict[str, Any]]) -> None:
    """The file ends in a softmax, so its probabilities are compared."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    out, line = person
    assert line["parity"]["direct"]["max_difference"] <= 1e-4
    interpreter = litert.Interpreter(str(shared / "weights" / "vww_96_float.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _, model, config = load_pretrained(str(out))
    assert (config.app, config.classes) == ("dogs", ("no person", "person"))
    images = torch.rand(4, 3, 96, 96)
    with torch.inference_mode():
        ours = torch.softmax(model(images)["dogs"], dim=1).numpy()
    for image, answer in zip(images, ours, strict=True):
        interpreter.set_tensor(taken["index"], image.permute(1, 2, 0)[None].numpy())
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(given["index"])[0], answer, atol=1e-5)


def test_visual_wake_words_is_what_the_registry_says(
    cli: Cli, shared: Path, person: tuple[Path, dict[str, Any]]
) -> None:
    out, known = person[0], REGISTRY[PERSON]
    info = load_weights(out).info
    assert info.classes == known.class_names
    assert info.preprocessing.resize == known.resize == "squash"
    assert (info.arguments["activation"], info.licence) == (known.activation, known.licence)
    photos = sorted((shared / "data" / "portraits" / "images").iterdir())[:5]
    answer = cli("predict", *photos, "--weights", out, "--workers", 0, "--top", 1)
    assert [line["predictions"][0]["name"] for line in answer.lines] == ["person"] * 5
