"""What computes answers, and where: an exported file by its own runtime, or a trained network by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.device import DEVICES
from apps.engine.core.spec import ModelSpec
from apps.engine.inference.decode import Outputs
from apps.engine.inference.model_file import load_model

if TYPE_CHECKING:
    from apps.engine.core.run_dir import RunConfig

ENGINES = ("auto", "onnxruntime", "openvino", "torch")
FILES = {".onnx": "onnxruntime", ".xml": "openvino"}  # by suffix, what runs them
RUN_MODEL = "model.onnx"  # beside the weights of a run, where it was exported there


class Engine(Protocol):
    """A model that is ready to compute; safe to call from several threads."""

    @property
    def spec(self) -> ModelSpec:
        """What the model says of itself."""

    @property
    def run(self) -> Callable[[NDArray[np.uint8]], Outputs]:
        """(B, ...) uint8 RGB images in the spec's layout -> the outputs of all heads, images first."""


@dataclass(frozen=True)
class TorchEngine:
    """A trained network that PyTorch computes, in float32.

    Args:
        spec: of its one head.
        run: (B, R, R, 3) uint8 RGB -> what the task keeps of the head's output.
    """

    spec: ModelSpec
    run: Callable[[NDArray[np.uint8]], Outputs]


def load_engine(
    source: str, *, engine: str = "auto", device: str = "auto", calls: int = 1, app: str | None = None
) -> Engine:
    """The model of a run's folder, a file made by ``export``, or weights with a classifier.

    Args:
        source: path of a run or of a file, or a registered name.
        engine: one of :data:`ENGINES`; ``auto`` takes the runtime of an exported file, else PyTorch.
        device: one of :data:`DEVICES`; ``auto`` takes a GPU where there is one.
        calls: that run at the same time.
        app: what weights are to answer, where they can answer several things.

    Raises:
        FileNotFoundError: there is no such source.
        ImportError: the engine is not installed.
        ValueError: the source is damaged, the engine cannot run it, or the device is not there.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    file = _file_of(source, engine)
    if file is None:
        if engine not in ("auto", "torch"):
            raise ValueError(
                f"{source} holds no file for {engine}: run `python cli.py export {source}`, or take engine "
                "'torch'"
            )
        return load_torch_engine(source, device, app)
    runs_it = FILES.get(file.suffix, "onnxruntime")
    if engine not in ("auto", runs_it):
        raise ValueError(f"{file} is a file for {runs_it}, not for {engine}")
    if device not in ("auto", "cpu"):
        raise ValueError(f"{file} is answered on the CPU; leave device {device!r} out, or engine 'torch'")
    return load_model(file, calls=calls)


def _file_of(source: str, engine: str) -> Path | None:
    """The exported file that a source names or holds, unless PyTorch is to answer."""
    path = Path(source)
    if path.suffix in FILES:
        return path
    inside = path / RUN_MODEL
    return inside if engine != "torch" and inside.is_file() else None


def load_torch_engine(source: str, device: str = "auto", app: str | None = None) -> TorchEngine:
    """A run, or weights with a classifier, for PyTorch.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: it is damaged, or the device is not there.
    """
    import torch

    from apps.engine.core.device import choose_device
    from apps.engine.core.model import inference_forward, load_source, tta_of
    from apps.engine.inference.answers import arrays
    from apps.engine.inference.tta import tta_logits

    task, model, config = load_source(source, app=app)
    where = choose_device(device)
    head: Any = model.heads[config.app]
    forward, views = inference_forward(model.to(where), config.app), tta_of(config, None)
    head_spec = task.head_spec(head, config)

    @torch.inference_mode()
    def run(images: NDArray[np.uint8]) -> Outputs:
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(where)
        return arrays(head_spec, task.postprocess(head, tta_logits(forward, pixels, views)))

    return TorchEngine(_model_spec(config, head_spec), run)


def _model_spec(config: RunConfig, head: Any) -> ModelSpec:
    seen = config.backbone.preprocessing
    about = {name: str(getattr(config.backbone, name)) for name in ("name", "arch", "source", "licence")}
    return ModelSpec(
        config.fingerprint, seen.resolution, seen.crop, "nhwc", "fp32", about, (head,),
        resize=head.extra.get("resize", "crop"),
    )
