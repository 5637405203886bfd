"""Networks of faces in PyTorch: what evaluates a training, and what files for answering are made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.made_once import say_once
from apps.faces.extraction.embedder import BATCH, ModelInfo, Vectors, lasting
from backbone import Backbone, build, inference_model, load_state, load_weights

# The published face network as it is fetched has its batch-norm folded; its vectors are those of the other.
SAME = {"c6249e4497ded7c5": "e3f5641b22355d48"}


class TorchFaceModel:
    """Crops to unit vectors, by PyTorch.

    Args:
        network: images (B, 3, S, S), bytes or in [0, 1], to (B, D), of any length; its cost is counted.
        info: what it is.
        answer: does the same sooner, on a copy made for answering; None takes the network itself.
        device: of PyTorch's, which holds them.
    """

    def __init__(
        self, network: nn.Module, info: ModelInfo, answer: Callable[[Tensor], Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        self.network, self.info = network.eval().to(memory_format=torch.channels_last), info
        self.answer, self.device = answer or self.network, device

    def mirrored(self) -> TorchFaceModel:
        """The same model with the mean of a face's vector and that of its mirror image, at twice the cost."""
        both = _Mirrored(self.network)
        return TorchFaceModel(both, self.info, _Mirrored(self.answer), self.device)

    @torch.inference_mode()
    def vectors(self, crops: Sequence[Image.Image]) -> Vectors:
        """(N, D) unit vectors of RGB crops that have the side ``info.resolution``."""
        if not crops:
            return np.zeros((0, self.info.dim), dtype=np.float32)
        parts = [self._some(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate(parts)

    def _some(self, crops: Sequence[Image.Image]) -> Vectors:
        pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops]))
        made = self.answer(pixels.permute(0, 3, 1, 2).to(self.device))
        vectors: Vectors = F.normalize(made, dim=1).cpu().numpy()
        return vectors


class _Mirrored(nn.Module):
    """The sum of the unit vectors of images and of their mirror images."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) sums, of any length."""
        return F.normalize(self.answer(images), dim=1) + F.normalize(self.answer(images.flip(3)), dim=1)


class PooledMap(nn.Module):
    """A map averaged: what face weights without a head of their own give.

    Args:
        stride: of the map.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.strides = (stride,)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return features.mean(dim=(2, 3))


class PooledTrunk(nn.Module):
    """A backbone with the mean of its last map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.pool = backbone, PooledMap(max(backbone.channels))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) means over height and width."""
        last: Tensor = self.pool(self.backbone(images)[self.pool.strides[0]])
        return last


class RunNetwork(nn.Module):
    """The backbone and the embedding head of a run of ``finetune faces``."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) vectors."""
        vectors: Tensor = self.model(images)[self.name]
        return vectors


def load_torch_face_model(
    *, weights: str | None = None, checkpoint: Path | None = None, device: str = "cpu"
) -> TorchFaceModel:
    """The network to embed with, of face weights (a path or a name) or of a run of ``finetune faces``.

    Raises:
        FileNotFoundError: there are no such weights, or no such run.
        ValueError: the file is damaged.
    """
    return _from_weights(str(weights), device) if checkpoint is None else _from_run(checkpoint, device)


def _from_weights(spec: str, device: str = "cpu") -> TorchFaceModel:
    loaded = load_weights(spec)
    network = build(loaded.info, most=loaded.count)
    load_state(network, loaded)
    network.to(device)
    trunk, seen = PooledTrunk(network), network.preprocessing
    return TorchFaceModel(trunk, ModelInfo(
        _fingerprint(trunk, seen.to_dict()), loaded.info.name, network.channels[trunk.pool.strides[0]],
        seen.resolution, weights=lasting(spec),
    ), PooledTrunk(inference_model(network)), device)


def _from_run(run: Path, device: str) -> TorchFaceModel:
    from apps.engine.core.model import inference_forward, load_run

    task, model, config = load_run(run, app="faces")
    head: Any = model.heads[task.name]
    head.margin_loss = None  # of the training alone: a row a person, which no answer needs
    network, seen = RunNetwork(model, task.name), config.backbone.preprocessing
    with torch.inference_mode():
        dim = network(torch.zeros(1, 3, seen.resolution, seen.resolution)).shape[1]
    return TorchFaceModel(network, ModelInfo(
        _fingerprint(network, seen.to_dict()), config.backbone.name, dim, seen.resolution,
        checkpoint=lasting(str(run)),
    ), inference_forward(model.to(device), task.name), device)


def face_model_file(spec: str) -> bytes:
    """Face weights as a model file, which says in ``extra`` what they are.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: they are damaged.
    """
    from apps.engine.inference.graph.model import Deployed, Plan
    from apps.engine.inference.graph.onnx_file import onnx_model

    model = _from_weights(spec)
    say_once(spec)
    trunk: Any = model.network
    info, seen = load_weights(spec).info, trunk.backbone.preprocessing
    head = HeadSpec("faces", "faces", "embedding", ("faces",), extra={"model": model.info.to_dict()})
    about = {"name": info.name, "arch": info.arch, "source": info.source, "licence": info.licence}
    made = ModelSpec(trunk.backbone.fingerprint(), seen.resolution, 1.0, "nhwc", "fp32", about, (head,))
    deployed = Deployed(trunk.backbone, {"faces": trunk.pool}, "nhwc")
    content: bytes = onnx_model(Plan(deployed, made, ())).SerializeToString()
    return content


def _fingerprint(network: nn.Module, preprocessing: dict[str, Any]) -> str:
    """16 hex digits of the sha256 over the state and the preprocessing."""
    digest = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    value = digest.hexdigest()[:16]
    return SAME.get(value, value)
