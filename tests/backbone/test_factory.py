"""A backbone in a single call: registered names, patterns of names, files and timm's names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from support import ROOT

import backbone
from backbone import MobileNetV1, load_weights
from backbone.pretrained import REGISTRY

NAME = "mobilenetv1_0.25_128"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MobileNetV1:
    """The network whose weights stand in the folder that MOBILENET_WEIGHTS names."""
    torch.manual_seed(0)
    network = MobileNetV1(0.25)
    metadata = {"padding": "same", "width": "0.25", "resolution": "128"}
    save_file(network.state_dict(), tmp_path / f"{NAME}.safetensors", metadata)
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(tmp_path))
    return network


@pytest.mark.parametrize("name", [NAME, f"{NAME}.safetensors"])
def test_a_registered_name_is_a_network_with_its_weights(name: str, mirror: MobileNetV1) -> None:
    network = backbone.create(name, pretrained=True)
    assert isinstance(network, MobileNetV1)
    assert (network.width, network.padding, network.preprocessing.resolution) == (0.25, "same", 128)
    assert network.fingerprint() == mirror.fingerprint()
    assert network.training
    assert load_weights(name).info.arguments["width"] == 0.25


def test_a_file_is_loaded_and_arguments_reach_the_constructor(mirror: MobileNetV1, tmp_path: Path) -> None:
    network = backbone.create(str(tmp_path / f"{NAME}.safetensors"), pretrained=True, output_stride=16)
    assert max(network.channels) == 16
    assert network.fingerprint() == mirror.fingerprint()
    with pytest.raises(ValueError, match=r"weights mobilenetv1_0.25_128 do not fit this network"):
        backbone.create(NAME, pretrained=True, width=0.5)


def test_the_official_weights_come_by_name(weights_025: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(weights_025.parent))
    network = backbone.create(NAME, pretrained=True)
    assert torch.equal(network.state_dict()["bn1.weight"], load_weights(weights_025).state["bn1.weight"])


@pytest.mark.parametrize(("name", "width", "resolution"), [
    ("mobilenetv1", 1.0, 224), ("mobilenetv1_0.25", 0.25, 224), ("mobilenetv1_1.0_160", 1.0, 160),
    ("mobilenetv1_0.4_96", 0.4, 96), ("mobilenetv1_0.75_192.safetensors", 0.75, 192),
])
def test_without_weights_the_name_says_width_and_resolution(
    name: str, width: float, resolution: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOBILENET_WEIGHTS", raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", "no-such-folder")
    network = backbone.create(name)
    assert isinstance(network, MobileNetV1)
    assert (network.width, network.padding) == (width, "same")
    assert network.preprocessing.resolution == resolution


def test_what_registered_weights_expect_is_in_the_network_without_them() -> None:
    faces = backbone.create("faces_mobilenetv1_1.0_224")
    assert faces.preprocessing.order == "bgr"
    timms: Any = backbone.create("mobilenetv1_100.ra4_e3600_r224_in1k")
    assert timms.padding == "symmetric"
    keras: Any = backbone.create("mobilenet_2_5_128_tf")
    assert keras.bn1.eps == 1e-3
    dense: Any = backbone.create(NAME, output_stride=8, padding="symmetric")
    assert max(dense.channels) == 8 and dense.padding == "symmetric"
    for name in REGISTRY:
        assert backbone.create(name, width=0.25).channels[32] == 256


def test_networks_of_timm_come_by_their_names() -> None:
    network = backbone.create("resnet18", in_chans=3)
    assert network.channels[32] == 512


@pytest.mark.parametrize(("name", "pretrained", "error", "words"), [
    ("mobilenetv1_0_128", False, ValueError, "a width above 0 and a resolution from 32 px up, got 0"),
    ("mobilenetv1_0.5_16", False, ValueError, "from 32 px up, got 0.5 and 16"),
    ("mobilnet_v1", False, ValueError, r"no network called 'mobilnet_v1'.*such as mobilenetv1_0.25_128"),
    ("some/weights.safetensors", False, ValueError, "names a file: give pretrained=True to load it"),
    ("some/weights.safetensors", True, FileNotFoundError, "there is no weights file some/"),
    ("mobilenetv1_0.4_96", True, FileNotFoundError, "neither a file nor a known name; known: mobile"),
    (NAME, True, FileNotFoundError, "set MOBILENET_WEIGHTS to"),
])
def test_names_that_lead_nowhere_are_refused_with_the_way_out(
    name: str, pretrained: bool, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOBILENET_WEIGHTS", raising=False)
    monkeypatch.setenv("MOBILENET_APPS_CACHE", "no-such-folder")
    with pytest.raises(error, match=words):
        backbone.create(name, pretrained=pretrained)


LOOK = """
import json, sys, warnings, logging, torch, timm
def state():
    return {
        "finders": [repr(f) for f in sys.meta_path], "hooks": [repr(h) for h in sys.path_hooks],
        "path": sys.path, "names": timm.list_models(), "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()), "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "seed": torch.initial_seed(),
        "mkldnn": torch.backends.mkldnn.enabled, "benchmark": torch.backends.cudnn.benchmark,
        "tf32": torch.backends.cuda.matmul.allow_tf32, "random": torch.get_rng_state().tolist()[:64],
        "filters": [repr(f) for f in warnings.filters], "handlers": repr(logging.root.handlers),
    }
before = state()
import backbone
assert set(backbone.__all__) <= set(dir(backbone))
public = [getattr(backbone, name) for name in backbone.__all__]
print(json.dumps([key for key, value in state().items() if value != before[key]]))
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_backbone_changes_nothing_elsewhere() -> None:
    """In a process of its own, as here everything is imported already."""
    assert json.loads(python(LOOK)) == []


def test_import_backbone_needs_neither_timm_nor_a_compiler() -> None:
    assert python(
        "import sys; from backbone import *; import backbone._cpu.kernels as k\n"
        "print('timm' in sys.modules, 'torchvision' in sys.modules, k._load.cache_info().currsize)"
    ) == "False False 0"


def test_the_registry_is_read_without_torch() -> None:
    assert python(
        "import sys, backbone; from backbone.pretrained import REGISTRY; print('torch' in sys.modules)"
    ) == "False"


def test_every_public_name_is_annotated_and_described() -> None:
    for name in backbone.__all__:
        value = getattr(backbone, name)
        assert value.__doc__, name
        if not isinstance(value, type):
            assert set(value.__annotations__) - {"return"} or name == "register_timm_models", name
            assert "return" in value.__annotations__, name
    assert "timm" not in backbone.__all__ and timm.__name__ == "timm"
