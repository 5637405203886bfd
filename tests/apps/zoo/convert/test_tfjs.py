"""TensorFlow.js files into ours: the network answers as before, and what is no MobileNet is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from importing_support import SIZE, answer, folded, trained, with_background
from tfjs_writer import Writer, mobilenet

from apps.engine.core.console import Console
from apps.zoo.convert.importer import ImportOptions, import_weights, read_source
from apps.zoo.convert.parity import Imported, drawn_images
from apps.zoo.convert.tfjs.manifest import read_model
from backbone import load_weights


def network(state: dict[str, Any], **how: Any) -> Writer:
    return mobilenet(folded(state), with_background(state), size=SIZE, **how)


@pytest.mark.parametrize(("stored", "close"), [("float32", 1e-3), ("float16", 2e-2), ("uint16", 2e-2)])
def test_a_graph_model_answers_as_the_network_that_it_was_made_from(
    stored: str, close: float, tmp_path: Path
) -> None:
    state, out, images = trained(), tmp_path / "out.safetensors", drawn_images(SIZE)
    path = network(state, stored=stored).write(tmp_path / "model.json")
    told = import_weights(path, out, ImportOptions(), Console(quiet=True))
    imported = Imported.of(load_weights(out))
    assert torch.allclose(imported.answer(images), answer(state, images), atol=close)
    assert (told["kind"], told["width"], told["resolution"], told["classes"]) == (
        f"tfjs-{stored}", 0.25, SIZE, 1000)


def test_quantised_weights_are_scale_times_number_plus_least(tmp_path: Path) -> None:
    writer = Writer("uint8")
    values = np.array([[-1.0, 0.25], [0.5, 3.0]], np.float32)
    writer.const("a", values)
    writer.const("b", np.array([3, 4], np.int32))
    model = read_model(writer.write(tmp_path / "m.json", shards=3))
    assert np.abs(model.weights["a"] - values).max() <= 2 / 255
    assert model.weights["a"].dtype == np.float32 and model.weights["b"].tolist() == [3, 4]
    packed = {"dtype": "uint8", "scale": 1, "min": 512}
    entry = {"name": "n", "shape": [], "dtype": "int32", "quantization": packed}
    (tmp_path / "n.bin").write_bytes(b"\3")
    (tmp_path / "n.json").write_text(json.dumps([{"paths": ["n.bin"], "weights": [entry]}]))
    assert read_model(tmp_path / "n.json").weights["n"].tolist() == 515


def test_heads_of_another_kind_travel_with_the_network(tmp_path: Path) -> None:
    """As in the face network: a hidden layer with ReLU, and two heads on it."""
    state = trained()
    writer = network(state)
    del writer.nodes[-2:]
    fused = {"list": {"s": ["Qmlhc0FkZA==", "UmVsdQ=="]}}
    inside, drawn = writer.const("feats/w", np.eye(256, 8, dtype=np.float32)), np.random.default_rng(0)
    bias = writer.const("feats/b", np.ones(8, np.float32))
    hidden = writer.node("_FusedMatMul", "feats/Relu", "pool", inside, bias, fused_ops=fused)
    for name, end in (("sex", "Sigmoid"), ("age", "Softmax")):
        kernel = writer.const(f"{name}/w", drawn.normal(size=(8, 3)).astype(np.float32))
        writer.node(end, f"{name}/end", writer.node("MatMul", f"{name}/product", hidden, kernel))
    source = read_source(writer.write(tmp_path / "model.json"))
    assert source.classifier is None and source.extras["feats.weight"].shape == (8, 256)
    assert source.extras["sex.weight"].shape == (3, 8) and source.extras["age.bias"].tolist() == [0, 0, 0]
    assert source.declared == (("heads", "feats(relu), feats -> sex(sigmoid), feats -> age(softmax)"),)


def _without_a_shard(path: Path) -> None:
    (path.parent / "model-1.bin").unlink()


def _short(path: Path) -> None:
    shard = path.parent / "model-1.bin"
    shard.write_bytes(shard.read_bytes()[:-3])


def _changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def _node(content: dict[str, Any], op: str) -> dict[str, Any]:
    return next(node for node in content["modelTopology"]["node"] if node["op"] == op)


def _entries(content: dict[str, Any]) -> list[dict[str, Any]]:
    return content["weightsManifest"][0]["weights"]


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a shard is missing": (_without_a_shard, "model-1.bin, which is missing"),
    "a shard is short": (_short, "bytes, the manifest says"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not whole JSON"),
    "other JSON": (lambda path: path.write_text('{"a": 1}'), "modelTopology or weightsManifest is missing"),
    "an unknown type": (_changed(lambda c: _entries(c)[2].update(dtype="complex64")), "stored as complex64"),
    "another type": (
        _changed(lambda c: _entries(c)[2].update(quantization={"dtype": "uint8", "scale": 1, "min": 0})),
        "bytes, the manifest says",
    ),
    "no scale": (
        _changed(lambda c: _entries(c)[0].update(quantization={"dtype": "uint8"}, shape=[4])),
        "quantised without scale",
    ),
    "a shard elsewhere": (
        _changed(lambda c: c["weightsManifest"][0]["paths"].append("../x.bin")), "outside its folder",
    ),
    "no weights": (_changed(lambda c: c.update(weightsManifest=[])), "lists no weights"),
    "damaged list": (_changed(lambda c: _entries(c)[3].pop("shape")), "list of weights is damaged"),
    "no graph": (
        _changed(lambda c: c.update(modelTopology={"model_config": {}}, format="layers-model")),
        "is a layers-model without a graph",
    ),
    "another operator": (_changed(lambda c: _node(c, "Mul").update(op="Erf")), "is Erf, which it does not"),
    "another activation": (
        _changed(lambda c: _node(c, "_FusedConv2D")["attr"]["fused_ops"]["list"]["s"].append("RWx1")),
        "has activation Elu",
    ),
    "weights that are not listed": (
        _changed(lambda c: _node(c, "DepthwiseConv2dNative")["input"].__setitem__(1, "x")),
        "needs the weights x, which are not listed",
    ),
    "damaged graph": (_changed(lambda c: _node(c, "DepthwiseConv2dNative")["attr"].clear()), "damaged graph"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_mobilenet_is_one_line_and_nothing_is_written(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from apps.cli.main import main

    path = network(trained()).write(tmp_path / "model.json")
    spoil, word = BAD[what]
    spoil(path)
    code = main(["weights", "import", str(path), "--out", str(tmp_path / "out.safetensors")])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (1, 1) and err.startswith("error: ") and word in err, err
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_network_of_another_length_is_refused(tmp_path: Path) -> None:
    state = trained()
    path = mobilenet(folded(state)[:-2], with_background(state), size=SIZE).write(tmp_path / "model.json")
    with pytest.raises(ValueError, match="25 convolutions"):
        import_weights(path, tmp_path / "out.safetensors", ImportOptions(), Console(quiet=True))


def test_the_face_ssd_is_read_with_its_own_default_boxes(shared: Path, tmp_path: Path) -> None:
    folder, out = shared / "weights" / "face_ssd_mobilenetv1", tmp_path / "faces.safetensors"
    path = folder / "ssd_mobilenetv1_model-weights_manifest.json"
    told = import_weights(path, out, ImportOptions(), Console(quiet=True))
    assert (told["kind"], told["width"], told["resolution"]) == ("tfjs-uint8", 1.0, 512)
    assert told["licence"] == "MIT"
    assert told["parity"]["direct"]["max_difference"] < 1e-3
    loaded = load_weights(out)
    assert loaded.info.head["classes"] == ["face"] and loaded.info.head["arguments"]["anchors"] == "stored"
    assert loaded.others["head.anchors"].shape == (5118, 4)


def test_another_list_of_weights_is_one_line(tmp_path: Path) -> None:
    writer = Writer()
    writer.const("a", np.zeros((1, 2), np.float32))
    path = writer.write(tmp_path / "m.json")
    path.write_text(json.dumps(json.loads(path.read_text())["weightsManifest"]))
    with pytest.raises(ValueError, match=r"is not face-api's SSD: .*weights is missing"):
        read_source(path)
