"""Is the written model the trained one: parity of outputs, and accuracy on labelled photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apps.export.graph import Loaded, Plan
from apps.export.model_file import ModelFile
from apps.export.photos import square
from datasets.images import BadPhotoError

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # greatest distance over the greatest output
BATCHES = (1, 3)


def parity(plan: Plan, model: ModelFile) -> float:
    """How far the file's outputs are from the trained network's, over the greatest of them.

    Raises:
        ValueError: further than is right for the precision.
    """
    reference, worst = plan.reference(), 0.0
    for batch in BATCHES:
        images = plan.example(batch, seed=batch)
        for got, wanted in zip(model.run(images.numpy()), reference(images), strict=True):
            scale = max(float(wanted.abs().max()), 1e-6)
            worst = max(worst, float(np.abs(got - wanted.numpy()).max()) / scale)
    most = TOLERANCE.get(plan.spec.precision)
    if most is not None and not worst <= most:
        raise ValueError(
            f"the exported model's outputs are off by {worst:.2g} of their size, more than {most:g} for "
            f"{plan.spec.precision}; nothing was written: export with another --precision or --opset"
        )
    return worst


def figures(parts: Sequence[Loaded], models: Sequence[ModelFile], data: Path) -> list[dict[str, float]]:
    """For each model the figure that each head is chosen by, on the labelled photos of a folder.

    Args:
        parts: what the models were made from.
        models: to compare; they see the same pixels.
        data: as ``finetune APP --data`` wants it; the photos of its ``val`` are used.

    Returns:
        A dict a model: ``APP/FIGURE`` -> value, and ``APP/photos``.

    Raises:
        OSError: the photos are missing.
        ValueError: none can be read.
    """
    found: list[dict[str, float]] = [{} for _ in models]
    for place, (app, _, config) in enumerate(parts):
        one = type(app)(type(app.settings)(**{**app.settings.to_dict(), "data": str(data)}))
        photos = one.dataset("val", classes=config.classes)
        kept, outputs = _outputs(photos, models)
        if not kept:
            raise ValueError(f"no photo of --validate {data} can be read")
        head = models[0].spec.heads[place]
        first = models[0].spec.outputs.index(head.outputs[0])
        for values, made in zip(found, outputs, strict=True):
            own = [torch.from_numpy(np.concatenate(part)) for part in zip(*made, strict=True)]
            mine = own[first : first + len(head.outputs)]
            values[f"{head.name}/{one.monitor}"] = _figure(one, parts[place], head.kind, photos, kept, mine)
            values[f"{head.name}/photos"] = len(kept)
    return found


def _outputs(photos: Any, models: Sequence[ModelFile]) -> tuple[list[int], list[list[list[Any]]]]:
    kept: list[int] = []
    outputs: list[list[list[Any]]] = [[] for _ in models]
    for index in range(len(photos)):
        try:
            pixels = photos.pixels(index)
        except BadPhotoError:
            continue
        spec = models[0].spec
        images = models[0].laid_out(square(pixels, spec.resolution, spec.crop))
        kept.append(index)
        for model, made in zip(models, outputs, strict=True):
            made.append(model.run(images))
    return kept, outputs


def _figure(
    app: Any, part: Loaded, kind: str, photos: Any, kept: list[int], outputs: list[torch.Tensor]
) -> float:
    from apps.engine.nested import stacked

    _, model, config = part
    output = outputs[0] if len(outputs) == 1 else tuple(outputs)
    placed = kind == "cells"  # whose outputs are log-probabilities already
    judged = {"log_probabilities": output} if placed else app.reduce(model.heads[config.app], output)
    targets = stacked([photos.target(index) for index in kept])
    paths = tuple(str(photos.photos[index].path) for index in kept)
    predictions = app.predictions(judged, targets, paths, config.classes, config.calibration)
    return float(app.metrics(predictions)[app.monitor])
