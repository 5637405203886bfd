"""Accuracy of written models on labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apps.engine.core.console import Console
from apps.engine.core.spec import HeadSpec
from apps.engine.evaluation.forward import as_kept
from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Loaded, Plan
from apps.engine.inference.preprocess import square
from datasets.image_io import BadImageError

MAX_DROP = 0.03  # of the figure that chooses the best epoch


def measured(
    made: Plan, reference: Engine, model: Engine, validate: Path | None, max_drop: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """``figures`` and ``drop`` of a model that is to be written; empty where there are no labelled photos.

    Raises:
        OSError: the photos are missing.
        ValueError: none can be read, or the loss is above ``max_drop``.
    """
    if validate is None:
        if made.spec.precision == "int8":
            say("the loss of accuracy is not known: give --validate DIR with labelled photos to measure it")
        return {}
    before, after = figures(made.parts, [reference, model], validate, say)
    drops: dict[str, float] = {}
    tables = {head.name: part[0].metrics for head, part in zip(made.spec.heads, made.parts, strict=True)}
    for name in (name for name in before if not name.endswith("/photos")):
        head, _, metric = name.partition("/")
        sign = 1 if tables[head].higher_is_better(metric) else -1
        fall = sign * (before[name] - after[name])
        drops[name] = round(fall / max(before[name], 1.0), 6)  # of geoscore, which is 0 to 5000, the share
        say(
            f"{name}: {before[name]:.4f} in fp32, {after[name]:.4f} in {made.spec.precision}, on "
            f"{before[name.split('/')[0] + '/photos']:.0f} photos"
        )
    check_drop(drops, max_drop)
    return {"figures": after, "drop": drops}


def check_drop(drops: Mapping[str, float], most: float) -> None:
    """Raise where a figure falls by more than is allowed.

    Args:
        drops: figure -> by how much it falls, as a fraction of one; negative where it rises.
        most: the greatest fall that is allowed.

    Raises:
        ValueError: one falls further; the message names the worst.
    """
    worst = max(drops, key=lambda name: drops[name])
    if drops[worst] > most:
        raise ValueError(
            f"{worst} falls by {drops[worst]:.4f}, more than --max-drop {most:g}; nothing was written: "
            "calibrate with more of your photos, take --precision fp16, or raise --max-drop"
        )


def figures(
    parts: Sequence[Loaded], models: Sequence[Engine], data: Path,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, float]]:
    """For each model the figure that each head is chosen by, on the labelled photos of a folder.

    Args:
        parts: what the models were made from.
        models: to compare; they see the same pixels.
        data: as ``finetune APP --data`` wants it; the photos of its ``val`` are used.
        say: takes a line of words on each photo that cannot be read.

    Returns:
        A dict a model: ``APP/FIGURE`` -> value, and ``APP/photos``.

    Raises:
        OSError: the photos are missing.
        ValueError: none can be read.
    """
    results: list[dict[str, float]] = [{} for _ in models]
    for place, (task, _, config) in enumerate(parts):
        item = type(task)(type(task.settings)(**{**task.settings.to_dict(), "data": str(data)}))
        item.prepare("val", Console(quiet=True), classes=config.classes)
        photos, head = item.dataset("val", classes=config.classes), models[0].spec.heads[place]
        kept, outputs = _outputs(photos, models, head, say)
        if not kept:
            raise ValueError(f"no photo of --validate {data} can be read")
        for values, made in zip(results, outputs, strict=True):
            name = f"{head.name}/{item.primary_metric.name}"
            values[name] = _figure(item, parts[place], head, photos, kept, made)
            values[f"{head.name}/photos"] = len(kept)
    return results


def _outputs(
    photos: Any, models: Sequence[Engine], head: HeadSpec, say: Callable[[str], None]
) -> tuple[list[int], list[list[tuple[Any, ...]]]]:
    """Of each photo that can be read the head's outputs; of a detector only the objects found."""
    kept: list[int] = []
    outputs: list[list[tuple[Any, ...]]] = [[] for _ in models]
    spec = models[0].spec
    first = spec.outputs.index(head.outputs[0])
    for index in range(len(photos)):
        try:
            pixels = photos.pixels(index)
        except BadImageError as err:
            say(f"skipped: {err}")
            continue
        images = models[0].laid_out(square(pixels, spec.resolution, spec.crop, spec.resize)[None])
        kept.append(index)
        for model, made in zip(models, outputs, strict=True):
            custom = tuple(model.run(images)[first : first + len(head.outputs)])
            boxes = kind_of(head.kind).boxes
            made.append(tuple(part[0][custom[1][0] > 0] for part in custom) if boxes else custom)
    return kept, outputs


def _figure(
    task: Any, part: Loaded, head: HeadSpec, photos: Any, kept: list[int], outputs: list[tuple[Any, ...]]
) -> float:
    from apps.engine.data.collate import stacked

    _, _, config = part
    value: Any
    if kind_of(head.kind).boxes:
        value = [tuple(map(torch.from_numpy, item)) for item in outputs]
    else:
        value = as_kept(head, [np.concatenate(column) for column in zip(*outputs, strict=True)])
    targets = stacked([photos.target(index) for index in kept])
    evaluator = task.evaluator(photos, config.classes, config.calibration)
    evaluator.update(value, targets, kept)
    name = task.primary_metric.name
    result = evaluator.compute().metrics()[name]
    if result is None:
        raise ValueError(
            f"{name} cannot be measured on the {len(kept)} photos of --validate; give more, of every kind"
        )
    return float(result)
