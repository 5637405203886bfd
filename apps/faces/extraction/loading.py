"""The network to embed faces with, from an exported file of a run or of face weights."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.engine.core.device import AS_USUAL, Choice, Compute
from apps.engine.core.files import sha256_of
from apps.engine.core.run_values import EXPORTED, MODEL, run_values
from apps.engine.inference.engines import Engine
from apps.engine.inference.made_once import cached
from apps.engine.inference.model_file import load_model
from apps.engine.inference.weights_check import check_weights
from apps.engine.inference.weights_model import weights_file
from apps.faces.detection.networks import FORMAT
from apps.faces.extraction.embedder import FaceModel, ModelInfo, Vectors, lasting

_log = logging.getLogger(__name__)
PIXELS_AT_ONCE = 4 * 128**2  # of the crops that a file sees: more leave the processor's cache


@dataclass(frozen=True)
class FaceModelFile:
    """Crops to unit vectors, by an exported model.

    Args:
        info: what it is.
        file: of one head, whose output is a vector of any length.
    """

    info: ModelInfo
    file: Engine

    def vectors(self, crops: Sequence[Image.Image]) -> Vectors:
        """(N, D) unit vectors of RGB crops that have the side ``info.resolution``."""
        parts = [np.zeros((0, self.info.dim), np.float32)]
        at_once = max(1, PIXELS_AT_ONCE // self.info.resolution**2)
        for start in range(0, len(crops), at_once):
            pixels = np.stack([np.asarray(crop) for crop in crops[start : start + at_once]])
            (made,) = self.file.run(pixels)
            parts.append(made / np.linalg.norm(made, axis=1, keepdims=True).clip(min=1e-12))
        return np.concatenate(parts)


def load_face_model(
    *, weights: str | None = None, checkpoint: Path | None = None, compute: Compute = AS_USUAL
) -> FaceModel:
    """The network to embed with.

    Weights are exported once, into the user's cache. A run without an exported file is answered by PyTorch.

    Args:
        weights: face weights, a path or a registered name; their pooled last map is the vector.
        checkpoint: the folder of a finished run of ``finetune faces``, instead.
        compute: by what, and where, it is computed.

    Raises:
        FileNotFoundError: there are no such weights, or no such run.
        ImportError: the engine is not installed.
        OSError: the cache cannot be written.
        ValueError: neither or both are given, the file is damaged, the engine cannot compute it, or the
            device is not there.
    """
    if (weights is None) == (checkpoint is None):
        raise ValueError("give either --weights W or --checkpoint RUN")
    choice = compute.choose()
    if choice.engine != "torch":
        keep = compute.engine != "auto"
        made = _of_weights(str(weights), choice) if checkpoint is None else _of_run(checkpoint, choice, keep)
        if made is not None:
            return made
        choice = compute.choose(f"{weights or checkpoint} has no exported file of its own")
    elif choice.note:
        _log.warning(choice.note)
    from apps.faces.extraction.torch_embedder import load_torch_face_model

    return load_torch_face_model(weights=weights, checkpoint=checkpoint, device=choice.device)


def here(spec: str) -> str:
    """Weights that a table names, not the user: they must be on this machine, as nothing is fetched for it.

    Raises:
        FileNotFoundError: they are not.
    """
    if weights_file(spec) is None:
        raise FileNotFoundError(
            f"the table was made by weights {spec}, which are not on this machine; get them by python cli.py "
            f"weights fetch {spec}, or give --weights"
        )
    return spec


def _of_weights(spec: str, choice: Choice) -> FaceModel | None:
    """By the file that was made of them; None where they are no file on this machine."""
    check_weights(spec)
    path = weights_file(spec)
    if path is None:
        return None

    def make() -> bytes:
        from apps.faces.extraction.torch_embedder import face_model_file

        return face_model_file(spec)

    # a file that does not say how its network sees is known by its name
    key = hashlib.sha256(f"{sha256_of(path)} {path.name}".encode()).hexdigest()[:32]
    exported = cached(f"embed-{FORMAT}-{key}.onnx", make)
    file = load_model(exported, engine=choice.engine, device=choice.device, whole=True)
    info = ModelInfo.from_dict(file.spec.heads[0].extra["model"])
    return FaceModelFile(replace(info, weights=lasting(spec)), file)


def _of_run(run: Path, choice: Choice, keep: bool) -> FaceModel | None:
    """By its exported file; None where there is none of these weights.

    Args:
        run: its folder.
        choice: the runtime, and where it computes.
        keep: whether no other engine may answer.

    Raises:
        ValueError: the file is damaged, and no other engine may answer.
    """
    values = run_values(run, app="faces")
    path = run / EXPORTED
    if not path.is_file():
        return None
    try:
        file = load_model(path, engine=choice.engine, device=choice.device)
    except ValueError as err:
        if keep:
            raise
        _log.warning("%s; PyTorch answers", err)
        return None
    if file.spec.checkpoint != values["model_sha256"] or len(file.spec.heads) != 1:
        return None
    backbone, side = values["backbone"], file.spec.resolution
    (vector,) = file.run(np.zeros((1, side, side, 3), np.uint8))
    fingerprint = _run_fingerprint(run / MODEL, backbone["preprocessing"])
    name, dim = backbone["name"], vector.shape[1]
    return FaceModelFile(ModelInfo(fingerprint, name, dim, side, checkpoint=lasting(str(run))), file)


def _run_fingerprint(weights: Path, preprocessing: dict[str, Any]) -> str:
    """As that of the network in PyTorch: over its state without the margin's rows, and the preprocessing."""
    from safetensors import safe_open

    digest = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode())
    with safe_open(weights, framework="np") as file:
        names = {f"model.{name}": name for name in file.keys() if ".margin_loss." not in name}  # noqa: SIM118
        for name, stored in sorted(names.items()):
            value = file.get_tensor(stored)
            digest.update(f"{name} {value.shape} torch.{value.dtype}\n".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()[:16]
