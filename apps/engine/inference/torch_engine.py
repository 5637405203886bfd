"""Trained networks that PyTorch computes: what has no exported file, or asks for what no file can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apps.engine.core.machine import choose_precision
from apps.engine.core.model import load_source
from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.decode import Outputs
from apps.engine.inference.engines import Engine, Pixels, batch_for, in_halves
from apps.engine.inference.graph.model import about_backbone, resize_of
from backbone import inference_model
from heads import MultiHead

BATCH = 32
Named = Sequence[tuple[str, str]]  # (name of the head, or nothing for its application's; source)


def load_torch_engine(
    named: Named, *, device: str = "cpu", precision: str = "auto", note: str = "", app: str | None = None
) -> Engine:
    """Runs of one backbone, or weights with a classifier, for PyTorch.

    Args:
        named: the runs; all have the backbone and the inputs of the first.
        device: of PyTorch's.
        precision: of the backbone: ``auto``, ``fp32`` or ``bf16``.
        note: why PyTorch answers.
        app: what weights are to answer; None for what their classes say.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: it is damaged.
    """
    parts = [load_source(source, app=app) for _, source in named]
    heads: dict[str, Any] = {}
    specs: list[HeadSpec] = []
    for (name, _), (task, model, config) in zip(named, parts, strict=True):
        head: Any = model.heads[config.app]
        plain = task.head_spec(head, config)
        specs.append(plain.named(name) if name else plain)
        heads[specs[-1].name] = head
    _, model, config = parts[0]
    forward = one_pass(MultiHead(model.backbone, heads).to(device), choose_precision(precision))
    lock = Lock()  # its threads are inside of a pass: passes at the same time would only get in their way

    @torch.inference_mode()
    def run(images: Pixels) -> Outputs:
        given = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        if device == "cuda":  # whose copy this thread need not wait for
            given = given.pin_memory()
        pixels = given.to(device, non_blocking=True)
        with lock:
            outputs = forward(pixels)
        kept: list[Any] = []
        for spec, (task, _, _) in zip(specs, parts, strict=True):
            kept += arrays(spec, task.postprocess(heads[spec.name], outputs[spec.name]))
        return kept

    seen = config.backbone.preprocessing
    spec = ModelSpec(
        config.fingerprint, seen.resolution, seen.crop, "nhwc", "fp32", about_backbone(config), tuple(specs),
        resize=resize_of(specs),
    )
    if device == "cpu":
        return Engine(spec, run, BATCH, sizes_vary=True, note=note)
    return Engine(spec, in_halves(run), batch_for(device, seen.resolution), sizes_vary=True, note=note)


def one_pass(
    model: MultiHead, dtype: torch.dtype = torch.float32
) -> Callable[[Tensor], dict[str, Any]]:
    """The output of every head from one pass of a copy of the backbone that is made for inference.

    Args:
        model: as trained; the copy does not follow when it learns on.
        dtype: in which the backbone computes.
    """
    backbone: Any = model.backbone
    network = inference_model(backbone, dtype)
    heads: dict[str, Any] = {name: head.eval() for name, head in model.heads.items()}

    def forward(images: Tensor) -> dict[str, Any]:
        maps = {stride: value.float() for stride, value in network(images).items()}
        return {name: head(*(maps[s] for s in model.strides[name])) for name, head in heads.items()}

    return forward


def arrays(spec: HeadSpec, kept: Any) -> list[Any]:
    """What ``postprocess`` keeps of a batch as arrays, in the order of the spec's outputs."""
    if isinstance(kept, Tensor):
        return [kept.cpu().numpy()]
    if isinstance(kept, dict):
        return [kept[name.split("/")[-1]].cpu().numpy() for name in _keys(spec, kept)]
    return [[part.cpu().numpy() for part in column] for column in zip(*kept, strict=True)]


def _keys(spec: HeadSpec, kept: dict[str, Any]) -> list[str]:
    """The names of a table's parts; a single one is found under any name of the output."""
    return list(spec.outputs) if len(spec.outputs) > 1 else list(kept)[:1]
