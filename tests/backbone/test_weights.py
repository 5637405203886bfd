"""Weights by path and by name; what travels with them; what is refused and how."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.efficientnet import _gen_mobilenet_v1

from backbone import MobileNetV1, WeightsInfo, build, load_state, load_weights
from backbone.timm_backbone import TimmBackbone


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """A state dict of width 0.25 with a classifier, saved as TensorFlow's are: SAME padding."""
    path = tmp_path / "narrow.safetensors"
    state = {k: v for k, v in MobileNetV1(0.25).state_dict().items() if "num_batches" not in k}
    state |= {"classifier.weight": torch.zeros(1000, 256), "classifier.bias": torch.zeros(1000)}
    metadata = {"padding": "same", "resolution": "128", "source": "drawn by lot (Apache-2.0)"}
    save_file(state, path, metadata | {"input": "(x-0.5)/0.5 of RGB in [0,1]", "width": "0.25"})
    return path


def test_what_the_weights_need_travels_with_them(narrow: Path) -> None:
    weights = load_weights(narrow)
    info = weights.info
    assert info.arguments == {"width": 0.25, "padding": "same"}
    assert (info.preprocessing.resolution, info.preprocessing.mean) == (128, (0.5, 0.5, 0.5))
    assert (info.licence, info.classes, info.name) == ("Apache-2.0", ("imagenet-1k",), "narrow")
    assert set(weights.classifier) == {"weight", "bias"}
    assert WeightsInfo.from_dict(info.to_dict()) == info
    network = build(info)
    load_state(network, weights)
    assert torch.equal(network.state_dict()["conv_stem.weight"], weights.state["conv_stem.weight"])


def test_activation_names_of_classes_and_squashed_images_travel_with_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "person.safetensors"
    state = MobileNetV1(0.25, activation="relu").state_dict()
    state |= {"classifier.weight": torch.zeros(2, 256), "classifier.bias": torch.zeros(2)}
    more = {"act": "relu", "classes": '["no person", "person"]', "resize": "squash", "input": "RGB in [0,1]"}
    save_file(state, path, {"padding": "same", "resolution": "96", "width": "0.25"} | more)
    weights = load_weights(path)
    assert weights.info.arguments["activation"] == "relu"
    assert weights.info.classes == ("no person", "person")
    assert weights.info.preprocessing.resize == "squash"
    assert (weights.info.preprocessing.mean, weights.info.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    assert WeightsInfo.from_dict(weights.info.to_dict()) == weights.info
    network = build(weights.info)
    load_state(network, weights)
    assert not any(isinstance(module, torch.nn.ReLU6) for module in network.modules())


def test_a_pytorch_state_dict_is_read_as_pytorch_pads(tmp_path: Path) -> None:
    state = _gen_mobilenet_v1("mobilenetv1_100", 0.5, pretrained=False).state_dict()
    path = tmp_path / "timm.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    weights = load_weights(path)
    assert weights.info.arguments == {"width": 0.5, "padding": "symmetric"}
    load_state(build(weights.info), weights)


def test_weights_of_another_width_are_refused_and_nothing_is_loaded(narrow: Path) -> None:
    network = MobileNetV1(0.5)
    before = network.fingerprint()
    with pytest.raises(ValueError, match=r"conv_stem.weight has shape \(8, 3, 3, 3\), not \(16, 3, 3, 3\)"):
        load_state(network, load_weights(narrow))
    assert network.fingerprint() == before


def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="refused"):
        load_weights(path)
    torch.save({"a": Evil()}, path)
    with pytest.raises(ValueError, match="wants to run code"):
        load_weights(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "keep", "word"), [
    ("narrow.safetensors", 1000, "not a whole safetensors file"),
    ("narrow.safetensors", 0, "is empty; copy or download it again"),
])
def test_a_cut_off_file_is_one_line(narrow: Path, name: str, keep: int, word: str) -> None:
    cut = narrow.with_name("cut-" + name)
    cut.write_bytes(narrow.read_bytes()[:keep])
    with pytest.raises(ValueError, match=word):
        load_weights(cut)


def test_another_network_and_another_input_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match="holds no MobileNetV1"):
        load_weights(path)
    save_file({"backbone.conv_stem.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match="give the run's folder"):
        load_weights(path)
    save_file(MobileNetV1(0.25).state_dict(), path, {"act": "swish"})
    with pytest.raises(ValueError, match="trained with swish; the network here has relu6 or relu"):
        load_weights(path)
    save_file(MobileNetV1(0.25).state_dict(), path, {"input": "YUV"})
    with pytest.raises(ValueError, match="unknown input 'YUV'"):
        load_weights(path)


@pytest.mark.parametrize(("spec", "word"), [
    ("no/such.safetensors", "check the path"), ("nothing.pth", "check the path"),
    ("mobilenetv9", "mobilenetv1_100.ra4_e3600_r224_in1k"), ("mobilenetv1_0.25_128", "MOBILENET_WEIGHTS"),
])
def test_missing_weights_say_what_there_is(spec: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOBILENET_WEIGHTS", raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", "no-such-folder")
    with pytest.raises(FileNotFoundError, match=word):
        load_weights(spec)


def test_registered_names_are_read_from_the_mirror_folder(
    narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(narrow.parent))
    with pytest.raises(FileNotFoundError, match="should hold it"):
        load_weights("mobilenetv1_0.25_128")
    narrow.rename(narrow.with_name("mobilenetv1_0.25_128.safetensors"))
    assert load_weights("mobilenetv1_0.25_128").info.arguments["width"] == 0.25


@pytest.mark.parametrize("name", [
    "mobilenetv1_1.0_224", "mobilenetv1_0.5_160", "mobilenetv1_0.25_128", "faces_mobilenetv1_1.0_224",
])
def test_the_real_files_load_by_name(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(shared / "weights"))
    weights = load_weights(name)
    network = build(weights.info)
    load_state(network, weights)
    order = "bgr" if name.startswith("faces") else "rgb"
    assert network.preprocessing.order == order
    assert weights.info.licence in ("Apache-2.0", "MIT")


class Hub(SimpleHTTPRequestHandler):
    """As the hub serves a file of a repository: commit and tag in the headers."""

    def end_headers(self) -> None:
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"1"')
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    root = tmp_path / "hub"
    handler = functools.partial(Hub, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", root
    server.shutdown()
    server.server_close()


TIMM = "mobilenetv1_100.ra4_e3600_r224_in1k"
LOAD = f"""
import torch
from backbone import build, load_state, load_weights
weights = load_weights("{TIMM}")
network = build(weights.info)
load_state(network, weights)
print(weights.info.arguments, weights.info.licence, float(weights.classifier["bias"][7]))
"""


@pytest.mark.slow
def test_timms_weights_come_through_its_own_hub_loader(hub: tuple[str, Path], tmp_path: Path) -> None:
    url, root = hub
    folder = root / "timm" / TIMM / "resolve" / "main"
    folder.mkdir(parents=True)
    state = _gen_mobilenet_v1("mobilenetv1_100", 1.0, pretrained=False).state_dict()
    state["classifier.bias"].fill_(0.25)
    save_file(state, folder / "model.safetensors")
    env = os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, check=False, timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "{'width': 1.0, 'padding': 'symmetric'} apache-2.0 0.25", done.stderr


@pytest.mark.parametrize(("name", "strides"), [
    ("resnet18", {2, 4, 8, 16, 32}), ("vit_tiny_patch16_224", {16}),
    ("swin_tiny_patch4_window7_224", {4, 8, 16, 32}),
])
def test_any_timm_network_keeps_the_contract(name: str, strides: set[int]) -> None:
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 224, 224))
    assert set(maps) == set(backbone.channels) == strides
    for stride, features in maps.items():
        assert features.shape == (1, backbone.channels[stride], 224 // stride, 224 // stride)


def test_an_unknown_timm_network_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="timm has no network called 'mobilenetv77'"):
        TimmBackbone("mobilenetv77")
