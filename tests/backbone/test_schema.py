"""What files may say of a network: nothing else is built from them, and nothing is fetched for them."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_support import assert_read_or_refused
from safetensors.torch import save, save_file

from backbone import Preprocessing, WeightsInfo, build, create, load_weights
from backbone.schema import parse_json, regular_file
from backbone.weights_files import read_safetensors, read_state_dict

SEEN = Preprocessing().to_dict()


@contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port, and who has connected to it."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def wait() -> None:
            try:
                calls.append(server.accept()[1])
            except OSError:
                return

        threading.Thread(target=wait, daemon=True).start()
        yield server.getsockname()[1], calls


def test_a_description_that_names_an_address_connects_to_nothing() -> None:
    with listener() as (port, calls):
        overlay = {"url": f"http://127.0.0.1:{port}/x.pth", "hf_hub_id": None}
        arguments = {"pretrained": True, "pretrained_cfg_overlay": overlay}
        with pytest.raises(ValueError, match="sets 'pretrained', which a file may not set; it may set"):
            build(WeightsInfo("x", arch="timm:resnet18", arguments=arguments))
        assert not calls


@pytest.mark.parametrize("arguments", [
    {"checkpoint_path": "/tmp/x.pth"}, {"pretrained_cfg_overlay": {"file": "/tmp/x.pth"}},
    {"pretrained_cfg": {}}, {"pretrained": False}, {"cache_dir": "/tmp"}, {"img_size": 60_000},
    {"output_stride": True}, {"drop_rate": float("nan")},
])
def test_arguments_of_timm_that_do_not_change_a_shape_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="arguments of timm:resnet18"):
        build(WeightsInfo("x", arch="timm:resnet18", arguments=arguments))


@pytest.mark.parametrize(
    "arch", ["timm:hf-hub:someone/net", "timm:hf_hub:someone/net", "timm:local-dir:/tmp", "resnet18", ""]
)
def test_only_known_architectures_are_built_from_files(arch: str) -> None:
    with pytest.raises(ValueError, match="there is no network"):
        build(WeightsInfo("x", arch=arch))
    with pytest.raises(ValueError, match="no network called 'resnet1800'"):
        build(WeightsInfo("x", arch="timm:resnet1800"))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"width": 300}, r"width must be a number from 0.001 to 4, got 300"),
    ({"width": [1]}, r"width must be a number .*, got \[1\]"),
    ({"width": True}, "width must be a number"),
    ({"preprocessing": {}}, "sets 'preprocessing', which a file may not set"),
    ({"padding": 3}, "padding must be one of 'same', 'symmetric', got 3"),
    ({"eps": float("inf")}, "eps must be a number from 0 to 1, got inf"),
])
def test_arguments_of_mobilenet_are_typed_and_bounded(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(WeightsInfo("x", arguments=arguments))


def test_python_itself_may_give_what_it_likes() -> None:
    with torch.device("meta"):
        assert create("mobilenetv1_0.25_128", width=4.5).channels[2] == 288


@pytest.mark.parametrize(("changes", "message"), [
    ({"resolution": 60_000}, "resolution must be a whole number from 32 to 2048, got 60000"),
    ({"resolution": 128.0}, "resolution must be a whole number"),
    ({"crop": 1e-9}, "crop must be a number from 0.05 to 1"),
    ({"crop": float("nan")}, "crop must be a number"),
    ({"mean": [1, 2]}, "mean must be three finite numbers"),
    ({"std": [0, 1, 1]}, "std must be three numbers above 0"),
    ({"order": "xyz"}, "order must be one of 'rgb', 'bgr'"),
    ({"url": "http://x"}, "preprocessing sets 'url', which a file may not set"),
])
def test_preprocessing_is_typed_and_bounded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightsInfo.from_dict({"name": "x", "preprocessing": SEEN | changes})
    assert WeightsInfo.from_dict({"name": "x", "preprocessing": SEEN}).preprocessing == Preprocessing()


@pytest.mark.parametrize(("text", "message"), [
    ('{"a": NaN}', "NaN is no number of JSON"), ('{"a": -Infinity}', "-Infinity is no number"),
    ("[" * 100_000, "nested too deep"), ('{"a"', "no whole JSON"), ("9" * 5000, "no whole JSON"),
])
def test_json_of_ours_is_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(text, "x.json")
    assert "x.json" in str(caught.value) and type(caught.value) is ValueError


def test_weights_that_are_not_finite_are_refused_at_load(tmp_path: Path) -> None:
    for name, value in (("nan", torch.nan), ("inf", torch.inf)):
        state = {"good": torch.ones(3), "conv.weight": torch.tensor([1.0, value])}
        save_file(state, tmp_path / f"{name}.safetensors")
        torch.save(state, tmp_path / f"{name}.pt")
        for read, suffix in ((read_safetensors, "safetensors"), (read_state_dict, "pt")):
            with pytest.raises(ValueError, match=rf"{name}\.{suffix}: conv.weight holds numbers"):
                read(tmp_path / f"{name}.{suffix}")


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.safetensors")
    for path in (tmp_path / "w.safetensors", Path("/dev/zero")):
        with pytest.raises(OSError, match="is a pipe or a device, not a regular file"):
            load_weights(path)
    with pytest.raises(FileNotFoundError):
        regular_file(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        regular_file(tmp_path)


def test_a_small_file_does_not_ask_for_a_large_network(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"conv_stem.weight": torch.ones(1), "blocks.4.1.conv_pw.weight": torch.ones(300_000, 1)}, path)
    with pytest.raises(ValueError, match=r"w.safetensors .*width must be a number from 0.001 to 4"):
        load_weights(path)


def test_damaged_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    network = create("mobilenetv1_0.25_128")
    small = {key: value for key, value in network.state_dict().items() if value.numel() < 40}
    small |= {"blocks.4.1.conv_pw.weight": torch.ones(256, 1), "conv_stem.weight": torch.ones(8, 3, 3, 3)}
    info = WeightsInfo("x", arguments={"width": 0.25, "padding": "same"})
    described = {"mobilenet_apps": json.dumps(info.to_dict())}
    for metadata in (described, {"resolution": "128", "padding": "same"}):
        data = save(small, metadata)
        head = data[: 8 + int.from_bytes(data[:8], "little")]
        refused = assert_read_or_refused(tmp_path / "w.safetensors", head, load_weights, 150)
        assert refused > 100


def test_a_file_asks_for_no_larger_network_than_it_brings_weights_for() -> None:
    info = WeightsInfo("x", arch="timm:vit_giant_patch14_224", preprocessing=Preprocessing())
    with pytest.raises(ValueError, match=r"patch14_224 has 1,0[\d,]* parameters, above the 9"):
        build(info, most=9)
    small = WeightsInfo("x", arch="timm:mobilenetv3_small_050", preprocessing=Preprocessing())
    count = sum(item.numel() for item in build(small).parameters())
    assert build(small, most=count)
    with pytest.raises(ValueError, match="a file may ask for no larger network"):
        build(small, most=count - 1)
