"""One place decides what computes, and where; what is not there is refused in one line."""

from __future__ import annotations

import pytest

from apps.engine.core import device as module
from apps.engine.core.device import Choice, choose, runtime
from apps.engine.core.distributed import World

FILE = {"file_engine": "onnxruntime", "can_torch": True}


@pytest.fixture(autouse=True)
def _a_machine_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch sees a GPU; ONNX Runtime has no provider for it."""
    monkeypatch.setattr(module, "available_devices", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(module, "file_devices", lambda _: ["cpu"])


def test_a_file_is_computed_by_its_runtime_on_the_processor() -> None:
    assert choose("auto", "auto", **FILE) == Choice("onnxruntime", "cpu")
    assert choose("openvino", "cpu", **FILE) == Choice("openvino", "cpu")


def test_a_runtime_with_the_device_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "file_devices", lambda _: ["cpu", "cuda"])
    assert choose("auto", "cuda", **FILE) == Choice("onnxruntime", "cuda")


def test_what_has_no_file_or_asks_for_more_is_computed_by_torch_and_says_why() -> None:
    assert choose("auto", "auto", file_engine=None, can_torch=True) == Choice("torch", "cuda")
    assert choose("torch", "cpu", **FILE) == Choice("torch", "cpu")
    assert choose("auto", "cpu", only_torch="bf16", **FILE) == Choice("torch", "cpu", "bf16")
    engine, device, note = choose("auto", "cuda", **FILE)
    assert (engine, device) == ("torch", "cuda")
    assert "onnxruntime has no cuda here" in note


@pytest.mark.parametrize(("engine", "device", "more", "words"), [
    ("tensorrt", "auto", {}, "engine must be one of auto, onnxruntime, openvino, torch, got 'tensorrt'"),
    ("auto", "tpu", {}, "device must be one of auto, cpu, cuda, mps, xpu, got 'tpu'"),
    ("torch", "mps", {}, "there is no device 'mps' here; there are: cpu, cuda"),
    ("onnxruntime", "cuda", {}, "there is no device 'cuda' for onnxruntime here; there are: cpu"),
    ("onnxruntime", "auto", {"only_torch": "views of other sizes"}, "cannot answer: views of other sizes"),
    ("torch", "auto", {"can_torch": False}, "PyTorch cannot compute an exported file"),
])
def test_what_is_not_there_is_refused(engine: str, device: str, more: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose(engine, device, **{**FILE, **more})  # type: ignore[arg-type]


def test_an_engine_that_is_not_installed_says_how_to_mend_it() -> None:
    with pytest.raises(ImportError, match="nowhere is not installed; install it: pip install nowhere"):
        runtime("nowhere")


def test_a_training_on_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.engine.core.distributed.choose_device", module.choose_device)
    with pytest.raises(ValueError, match="there is no device 'xpu' here"):
        World().on("xpu")
    assert World().on("cpu").device.type == "cpu"
