"""Files of weights by their content: what they are, what their names tell, and classes without background."""

from __future__ import annotations

import io
import logging
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from importing_support import State, answer, pairs, trained, with_background, write_float, write_keras
from PIL import Image
from safetensors.torch import save_file
from support import Cli

from apps.engine.core.console import Console
from apps.zoo.convert.importer import ImportOptions, import_weights, read_source
from apps.zoo.convert.parity import Imported, drawn_images
from backbone import Preprocessing, load_weights
from backbone.storage import foreign_kind
from backbone.weights_files import told_by_name


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return content.getvalue()


def saved(save: Any) -> bytes:
    content = io.BytesIO()
    save(content)
    return content.getvalue()


def varint(*numbers: int) -> bytes:
    return bytes(numbers)


FOREIGN = {
    "x.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(60), "is a TFLite file; import it first: python cli.py"),
    "x.h5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "is an HDF5 file, as Keras writes them; import it first"),
    "x.keras": (zipped(**{"config.json": b"{}", "model.weights.h5": b"x"}), "is a Keras 3 file; save it"),
    "x.onnx": (varint(8, 8, 0x12, 7) + b"pytorch" + bytes(40), "is an ONNX model; answer with it by predict"),
    "graph.pb": (varint(0x0A, 40, 0x0A, 5) + b"input" + bytes(40), "is a TensorFlow graph; convert it"),
    "saved_model.pb": (varint(8, 1, 0x12, 0xD0, 2) + bytes(60), "is a TensorFlow SavedModel; convert"),
    "x.npz": (saved(lambda file: np.savez(file, vector=np.zeros(3))), "is a NumPy archive of arrays; save"),
    "x.npy": (saved(lambda file: np.save(file, np.zeros(3))), "is a NumPy array; save"),
    "x.zip": (zipped(readme=b"hello"), "is a zip archive; unpack it"),
    "x.tgz": (b"\x1f\x8b\x08" + bytes(60), "is a packed archive; unpack it"),
    "page.safetensors": (b"\n<!DOCTYPE html><html>404", "is a saved web page, not the file itself"),
    "page.pt": (b"<html><head>", "is a saved web page, not the file itself; download the file by its raw"),
    "lfs.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "the file with: git lfs pull"
    ),
    "x.xml": (b'<?xml version="1.0"?>\n<net name="m" version="11">', "is an OpenVINO model; answer with it"),
    "x.jpg": (b"\xff\xd8\xff\xe0" + bytes(60), "is a photo; give a file of weights"),
    "x.pth": (b"", "is empty; copy or download it again"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("suffix", ["", ".pt", ".safetensors"])
def test_a_file_of_another_kind_is_known_by_its_content(name: str, suffix: str, tmp_path: Path) -> None:
    content, says = FOREIGN[name]
    path = tmp_path / (name + suffix)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is ") as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path} ") and says in str(caught.value)
    assert "pickle" not in str(caught.value) and "\n" not in str(caught.value)


def test_real_files_of_the_libraries_are_known(tmp_path: Path) -> None:
    """What onnx and TorchScript really write, not what these tests think they do."""
    import onnx

    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.bin")
    onnx.save(onnx.helper.make_model(graph, producer_name="pytorch"), tmp_path / "b.bin")
    for name in ("a.bin", "b.bin"):
        assert "is an ONNX model" in str(foreign_kind(tmp_path / name))
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "c.pt"))
    assert "is a TorchScript program" in str(foreign_kind(tmp_path / "c.pt"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "d.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "e.pt", _use_new_zipfile_serialization=False)
    save_file({"a": torch.zeros(2)}, tmp_path / "f.bin")
    assert [foreign_kind(tmp_path / name) for name in ("d.pt", "e.pt", "f.bin")] == [None] * 3


@pytest.mark.parametrize("words", [
    ("predict", "PHOTO", "--weights", "W"),
    ("evaluate", "imagenet", "--data", "DATA", "--weights", "W"),
    ("evaluate", "faces", "--data", "DATA", "--weights", "W"),
    ("evaluate", "attributes", "--data", "DATA", "--weights", "W"),
    ("finetune", "dogs", "--data", "DATA", "--weights", "W", "--out", "OUT"),
    ("finetune", "dogs", "--weights", "W", "--out", "OUT"),
    ("finetune", "dogs", "--weights", "W", "--find-lr", "--epochs", "1", "--out", "OUT"),
    ("joint", "a=dogs", "b=dogs", "--data", "a=DATA", "--data", "b=DATA", "--weights", "W", "--out", "OUT"),
    ("export", "--weights", "W", "--out", "OUT.onnx"),
    ("embed-faces", "PHOTO", "--weights", "W", "--out", "OUT.parquet"),
    ("verify-faces", "PHOTO", "PHOTO", "--weights", "W"),
], ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize(("name", "says"), [
    ("x.tflite", "python cli.py weights import"), ("mobilenetv1_0.25_182", "a known name"),
    ("no/such.safetensors", "there is no weights file no/such.safetensors"),
])
def test_every_command_refuses_wrong_weights_in_one_line_before_any_work(
    words: tuple[str, ...], name: str, says: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is drawn, made or downloaded before."""
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.tflite").write_bytes(FOREIGN["x.tflite"][0])
    for split in ("train", "val"):
        for kind in ("A", "B"):
            folder = tmp_path / "data" / split / kind
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 40)).save(folder / f"{number}.png")
    weights = str(tmp_path / name) if name == "x.tflite" else name
    parts = {"W": weights, "PHOTO": str(tmp_path / "data/val/A/0.png"), "DATA": str(tmp_path / "data")}

    def filled(word: str) -> str:
        for key, value in parts.items():
            word = value if word == key else word.replace(f"={key}", f"={value}")
        return word.replace("OUT", str(tmp_path / "out"))

    answer = cli(*map(filled, words))
    assert answer.code == 1 and answer.out == ""
    assert says in answer.last_error and len(answer.err.strip().splitlines()) == 1, answer.err
    assert not list(tmp_path.glob("out*")) and not (tmp_path / "cache").exists()


def background_state(state: State) -> State:
    weight, bias = with_background(state)
    return state | {"classifier.weight": torch.from_numpy(weight), "classifier.bias": torch.from_numpy(bias)}


def as_convolution(state: State) -> State:
    return state | {"classifier.weight": state["classifier.weight"][:, :, None, None]}


def in_order(state: State) -> State:
    """Other names: layers by number, as a Sequential has them, the classifier a convolution."""
    named: State = OrderedDict()
    for number, (conv, norm, _) in enumerate(pairs()):
        named[f"features.{2 * number}.weight"] = state[f"{conv}.weight"]
        for key in ("weight", "bias", "running_mean", "running_var"):
            named[f"features.{2 * number + 1}.{key}"] = state[f"{norm}.{key}"]
    named["top.weight"], named["top.bias"] = state["classifier.weight"], state["classifier.bias"]
    return named


def write_pytorch(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


def write_safetensors(path: Path, state: State) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


FILES: dict[str, Any] = {
    "float.tflite": write_float,
    "half.tflite": lambda path, state: write_float(path, state, kind="float16"),
    "int8.tflite": lambda path, state: write_float(path, state, kind="int8"),
    "keras.h5": lambda path, state: write_keras(path, background_state(state)),
    "timm.pt": lambda path, state: write_pytorch(path, background_state(state)),
    "timm_conv.pt": lambda path, state: write_pytorch(path, as_convolution(background_state(state))),
    "conv.pt": lambda path, state: write_pytorch(path, as_convolution(state)),
    "order.pt": lambda path, state: write_pytorch(path, in_order(background_state(state))),
    "order_conv.pt": lambda path, state: write_pytorch(
        path, in_order(as_convolution(background_state(state)))
    ),
    "order_conv.safetensors": lambda path, state: write_safetensors(
        path, in_order(as_convolution(background_state(state)))
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_an_import_keeps_1000_classes_in_a_matrix(name: str, tmp_path: Path) -> None:
    """The class 0 of the file would win everywhere: its bias is 99."""
    state = trained()
    source = read_source(FILES[name](tmp_path / name, state))
    assert source.classifier is not None
    weight, bias = source.classifier
    assert weight.shape == (1000, 256) and bias.shape == (1000,)
    close = 0.05 if name in ("int8.tflite", "half.tflite") else 1e-5
    assert torch.allclose(weight, state["classifier.weight"], atol=close)
    told = import_weights(tmp_path / name, tmp_path / "out.safetensors", ImportOptions(), Console(quiet=True))
    assert told["classes"] == 1000
    assert load_weights(tmp_path / "out.safetensors").info.classes == ("imagenet-1k",)


@pytest.mark.parametrize("change", [as_convolution, background_state,
                                    lambda state: as_convolution(background_state(state))])
def test_such_classifiers_answer_without_an_import_too(
    change: Any, cli: Cli, tmp_path: Path
) -> None:
    state = trained()
    path = write_pytorch(tmp_path / "mobilenetv1_0.25_64.pt", change(state))
    Image.new("RGB", (64, 64), (200, 60, 90)).save(tmp_path / "a.png")
    lines = cli("predict", tmp_path / "a.png", "--weights", path, "--top", 1, "--precision", "fp32").lines
    (tmp_path / "plain").mkdir()
    plain = write_pytorch(tmp_path / "plain" / path.name, state)
    asked = ("--weights", plain, "--top", 1, "--precision", "fp32")
    assert cli("predict", tmp_path / "a.png", *asked).lines == lines
    images = drawn_images(64)
    assert torch.allclose(
        Imported.of(load_weights(path)).answer(images), answer(state, images, padding="same"), atol=1e-3
    )


@pytest.mark.parametrize(("stem", "told"), [
    ("mobilenetv1_0.25_128", ("128", "same")), ("mobilenetv1_0.25_128_finetuned", ("128", "same")),
    ("mobilenet_v1_1.0_192_quant", ("192", "same")), ("mobilenet_v1_0.75_160", ("160", "same")),
    ("mobilenet_2_5_128_tf", ("128", "same")), ("mobilenetv1_0.4_96", ("96", "same")),
    ("mobilenetv1_100.ra4_e3600_r224_in1k", ("224", "symmetric")),
    ("mobilenetv1_050_r160", ("160", "symmetric")),
    ("narrow", None), ("mobilenetv1_100", None), ("resnet_r2", None), ("mobilenetv1_0.25_7", None),
])
def test_a_name_tells_resolution_and_padding(stem: str, told: tuple[str, str] | None) -> None:
    found = told_by_name(stem)
    assert (found.get("resolution"), found.get("padding")) == (told or (None, None))


def test_what_is_assumed_of_a_file_without_metadata_is_said_in_one_line(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    answers = {}
    for name in ("mobilenetv1_0.25_128.pt", "mine.pt"):
        path = write_pytorch(tmp_path / name, trained())
        answers[name] = cli("predict", tmp_path / "a.png", "--weights", path)
        assert answers[name].code == 0, answers[name].err
        (line,) = (line for line in answers[name].err.splitlines() if "does not say how" in line)
        assert f"python cli.py weights import {path}" in line
        info = load_weights(path).info
        wanted = (128, "same") if "128" in name else (224, "symmetric")
        assert (info.preprocessing.resolution, info.arguments["padding"]) == wanted
        assert ("resolution 128, padding same, input" in line and "by its name" in line) == ("128" in name)
        assert ("resolution 224, padding symmetric, input" in line) == ("mine" in name)
    with caplog.at_level(logging.WARNING, "backbone"):
        out, how = tmp_path / "out.safetensors", ("--resolution", 96, "--padding", "same")
        told = cli("weights", "import", tmp_path / "mine.pt", *how, "--out", out)
        assert told.code == 0 and "does not say" not in told.err
        caplog.clear()
        info = load_weights(out).info
    assert (info.preprocessing.resolution, info.arguments["padding"], caplog.text) == (96, "same", "")
    two = tmp_path / "two.safetensors"
    again = cli("weights", "import", tmp_path / "mobilenetv1_0.25_128.pt", "--out", two)
    assert "by its name" in again.err and again.lines[0]["resolution"] == 128
    assert again.lines[0]["padding"] == "same"


def test_metadata_that_say_all_leave_nothing_to_assume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_file(trained(), tmp_path / "a.safetensors", {"resolution": "128", "padding": "same"})
    with caplog.at_level(logging.WARNING, "backbone"):
        load_weights(tmp_path / "a.safetensors")
    assert caplog.text == ""


def test_preprocessing_that_is_as_ever_is_written_as_ever() -> None:
    """Fingerprints of galleries and thresholds are made of it."""
    assert "resize" not in Preprocessing().to_dict()
    squashed = Preprocessing(resize="squash")
    assert Preprocessing.from_dict(squashed.to_dict()) == squashed
