"""What computes, and where: one place that chooses engine and device, and knows which this machine has."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, NamedTuple

ENGINES = ("auto", "onnxruntime", "openvino", "torch")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
PROVIDERS = {  # of ONNX Runtime, by device
    "cpu": "CPUExecutionProvider", "mps": "CoreMLExecutionProvider", "xpu": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
OPENVINO_DEVICES = {"cpu": "CPU", "xpu": "GPU"}
_ONE_AT_A_TIME = Lock()


class Choice(NamedTuple):
    """What is to compute.

    Args:
        engine: ``onnxruntime``, ``openvino`` or ``torch``.
        device: one of :data:`DEVICES` but ``auto``.
        note: a line for the user where PyTorch steps in; else empty.
    """

    engine: str
    device: str
    note: str = ""


class Compute(NamedTuple):
    """What a user wants networks to be computed by, and where.

    Args:
        engine: one of :data:`ENGINES`.
        device: one of :data:`DEVICES`.
    """

    engine: str = "auto"
    device: str = "auto"

    def choose(self, lacking: str = "") -> Choice:
        """The engine and the device for a network that is an ONNX file, or that PyTorch computes.

        Args:
            lacking: why there is no such file; empty where there is one.

        Raises:
            ImportError: the engine is not installed.
            ValueError: the engine cannot compute the network, or the device is not there.
        """
        file_engine = None if lacking else "onnxruntime"
        return choose(self.engine, self.device, file_engine=file_engine, can_torch=True, only_torch=lacking)


AS_USUAL = Compute()


def check_asked(engine: str, device: str) -> None:
    """Refuse words that name no engine or no device.

    Raises:
        ValueError: see above; the message has the words that are known.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")


def choose(
    engine: str, device: str, *, file_engine: str | None, can_torch: bool, only_torch: str = ""
) -> Choice:
    """The engine and the device for a model.

    Args:
        engine: one of :data:`ENGINES`; ``auto`` takes the runtime of an exported file, else PyTorch.
        device: one of :data:`DEVICES`; ``auto`` takes the processor for a file, a GPU for PyTorch.
        file_engine: what runs the model's exported file by itself; None where there is no file.
        can_torch: whether PyTorch can compute the model.
        only_torch: why nothing but PyTorch can; empty where the file can.

    Raises:
        ImportError: the engine is not installed.
        ValueError: the engine cannot compute this model, or the device is not there.
    """
    check_asked(engine, device)
    if engine == "torch" or (engine == "auto" and (only_torch or file_engine is None)):
        if not can_torch:
            raise ValueError(f"PyTorch cannot compute an exported file; {only_torch or 'leave engine out'}")
        return Choice("torch", choose_device(device), "" if engine == "torch" else only_torch)
    if only_torch or file_engine is None:
        raise ValueError(f"engine {engine!r} cannot answer: {only_torch or 'there is no file for it'}")
    name = file_engine if engine == "auto" else engine
    if device in ("auto", "cpu"):
        return Choice(name, "cpu")
    there = file_devices(name)
    if device in there:
        return Choice(name, device)
    if engine == "auto" and can_torch:
        return Choice("torch", choose_device(device), f"{name} has no {device} here, so PyTorch answers")
    raise ValueError(f"there is no device {device!r} for {name} here; there are: {', '.join(there)}")


def choose_device(asked: str = "auto") -> str:
    """The name of a device of PyTorch's.

    Args:
        asked: one of :data:`DEVICES`; ``auto`` takes the first GPU that is there, else the processor.

    Raises:
        ValueError: there is no such device here; the message names those that there are.
    """
    check_asked("auto", asked)
    there = available_devices()
    if asked == "auto":
        return there[-1]
    if asked not in there:
        raise ValueError(f"there is no device {asked!r} here; there are: {', '.join(there)}")
    return asked


def available_devices() -> list[str]:
    """``cpu`` and the kinds of GPU that PyTorch can use, the preferred one last."""
    import torch

    there = {
        "mps": torch.backends.mps.is_available(), "xpu": torch.xpu.is_available(),
        "cuda": torch.cuda.is_available(),
    }
    return ["cpu", *(name for name, value in there.items() if value)]


def file_devices(engine: str) -> list[str]:
    """The devices on which an installed runtime computes exported files.

    Args:
        engine: ``onnxruntime`` or ``openvino``.

    Raises:
        ImportError: it is not installed.
    """
    if engine == "onnxruntime":
        there = runtime(engine).get_available_providers()
        return [device for device, provider in PROVIDERS.items() if provider in there]
    units = [unit.split(".")[0] for unit in openvino_core().available_devices]
    return [device for device, unit in OPENVINO_DEVICES.items() if unit in units]


def runtime(engine: str) -> Any:
    """The module of a runtime.

    Raises:
        ImportError: it is not installed; the message says how to mend it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(engine)
    except ImportError as err:
        raise ImportError(f"{engine} is not installed; install it: pip install {engine}") from err


def openvino_core() -> Any:
    """OpenVINO's core, one for the whole process.

    On a processor with AMX each core leaves a stack for signals that it takes with it when it goes: after
    several, the next Ctrl+C has no stack and ends in a crash.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    with _ONE_AT_A_TIME:
        return _core_of(runtime("openvino"))


@cache
def _core_of(openvino: Any) -> Any:
    """The core; numpy is made known first, since two threads that do so at once wait for ever."""
    import numpy as np

    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino.Core()
