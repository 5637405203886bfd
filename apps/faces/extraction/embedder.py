"""A network that turns face crops into unit vectors, from face weights or from a finished run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from backbone import Backbone, build, inference_model, load_state, load_weights

BATCH = 32
Align = Literal["five-point", "none"]
ALIGNMENTS: tuple[Align, ...] = get_args(Align)
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class ModelInfo:
    """Which network made a table of vectors; it travels with the table.

    Args:
        fingerprint: 16 hex digits over the network's numbers and what it expects of its input; vectors
            can be compared only where it is the same.
        name: of the weights.
        dim: length of the vectors.
        resolution: side of the crops in pixels.
        weights: what ``--weights`` was, a path or a name; None for a run.
        checkpoint: the run's folder; None for weights.
    """

    fingerprint: str
    name: str
    dim: int
    resolution: int
    weights: str | None = None
    checkpoint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)


class FaceModel:
    """Crops to unit vectors.

    Args:
        network: images (B, 3, S, S), bytes or in [0, 1], to (B, D), of any length; its cost is counted.
        info: what it is.
        answer: does the same sooner, on a copy made for answering; None takes the network itself.
    """

    def __init__(
        self, network: nn.Module, info: ModelInfo, answer: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network, self.info = network.eval().to(memory_format=torch.channels_last), info
        self.answer = answer or self.network

    def mirrored(self) -> FaceModel:
        """The same model with the mean of a face's vector and that of its mirror image, at twice the cost."""
        both = _Mirrored(self.network)
        return FaceModel(both, self.info, _Mirrored(self.answer))

    @torch.inference_mode()
    def vectors(self, crops: Sequence[Image.Image]) -> Vectors:
        """(N, D) unit vectors of RGB crops that have the side ``info.resolution``."""
        if not crops:
            return np.zeros((0, self.info.dim), dtype=np.float32)
        parts = [self._some(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate(parts)

    def _some(self, crops: Sequence[Image.Image]) -> Vectors:
        pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops]))
        vectors: Vectors = F.normalize(self.answer(pixels.permute(0, 3, 1, 2)), dim=1).numpy()
        return vectors


class _Mirrored(nn.Module):
    """The sum of the unit vectors of images and of their mirror images."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) sums, of any length."""
        return F.normalize(self.answer(images), dim=1) + F.normalize(self.answer(images.flip(3)), dim=1)


class PooledTrunk(nn.Module):
    """A backbone's last map, averaged: what face weights without a head of their own give."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.stride = backbone, max(backbone.channels)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) means over height and width."""
        last: Tensor = self.backbone(images)[self.stride]
        return last.mean(dim=(2, 3))


class RunNetwork(nn.Module):
    """The backbone and the embedding head of a run of ``finetune faces``."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) vectors."""
        vectors: Tensor = self.model(images)[self.name]
        return vectors


def load_face_model(*, weights: str | None = None, checkpoint: Path | None = None) -> FaceModel:
    """The network to embed with.

    Args:
        weights: face weights, a path or a registered name; their pooled last map is the vector.
        checkpoint: the folder of a finished run of ``finetune faces``, instead.

    Raises:
        FileNotFoundError: there are no such weights, or no such run.
        ValueError: neither or both are given, or the file is damaged.
    """
    if (weights is None) == (checkpoint is None):
        raise ValueError("give either --weights W or --checkpoint RUN")
    return _from_run(checkpoint) if checkpoint is not None else _from_weights(str(weights))


def _from_weights(spec: str) -> FaceModel:
    loaded = load_weights(spec)
    network = build(loaded.info)
    load_state(network, loaded)
    trunk, seen = PooledTrunk(network), network.preprocessing
    return FaceModel(trunk, ModelInfo(
        _fingerprint(trunk, seen.to_dict()), loaded.info.name, network.channels[trunk.stride],
        seen.resolution, weights=_lasting(spec),
    ), PooledTrunk(inference_model(network)))


def _from_run(run: Path) -> FaceModel:
    from apps.engine.core.model import inference_forward, load_run

    task, model, config = load_run(run, app="faces")
    head: Any = model.heads[task.name]
    head.margin_loss = None  # it only taught: a row a person, which no answer needs
    network, seen = RunNetwork(model, task.name), config.backbone.preprocessing
    with torch.inference_mode():
        dim = network(torch.zeros(1, 3, seen.resolution, seen.resolution)).shape[1]
    return FaceModel(network, ModelInfo(
        _fingerprint(network, seen.to_dict()), config.backbone.name, dim, seen.resolution,
        checkpoint=_lasting(str(run)),
    ), inference_forward(model, task.name))


def _lasting(spec: str) -> str:
    """A path that holds from any folder; a name as it is."""
    return str(Path(spec).absolute()) if Path(spec).exists() else spec


def _fingerprint(network: nn.Module, preprocessing: dict[str, Any]) -> str:
    """16 hex digits of the sha256 over the state and the preprocessing."""
    digest = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
