"""``detect``: photos in, a line of objects each out, and pictures with the boxes drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from apps.engine.core.files import writable_folder
from apps.engine.core.machine import choose_precision
from apps.engine.core.model import inference_forward, load_pretrained, load_run
from apps.engine.core.run_dir import RunConfig
from apps.engine.core.task import AnyTask
from apps.engine.data.loader import Loader
from apps.engine.inference.answers import arrays
from apps.engine.inference.decode import decode
from apps.objects.plots import drawn
from datasets.base import ImageDataset, Photo
from datasets.image_io import image_size, list_photos, read_image
from heads import MultiHead

BATCH = 16
ALL = 10**6  # objects an image: those of all classes, as some are left out later


def loaded(
    checkpoint: Path | None, weights: str | None, **changes: Any
) -> tuple[AnyTask, MultiHead, RunConfig]:
    """The detector of a run, or the one that weights bring.

    Raises:
        FileNotFoundError: the run or the weights are missing.
        ValueError: they are damaged, or bring no detector.
    """
    if checkpoint is not None:
        return load_run(checkpoint, app="objects", **changes)
    return load_pretrained(weights or "", app="objects", **changes)


def detect(
    paths: Iterable[Path], *, checkpoint: Path | None = None, weights: str | None = None,
    draw: Path | None = None, threshold: float = 0.3, classes: Sequence[str] = (), top: int = 100,
    workers: int | None = None, precision: str = "auto",
) -> Iterator[dict[str, Any]]:
    """The objects on each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: a run of ``finetune objects``; or ``weights`` that bring a detector.
        draw: folder for the photos with boxes drawn.
        threshold: least score, 0 to 1.
        classes: the only ones told; none for all.
        top: most objects a photo.
        workers: reading processes; None decides by the cores.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        ``{"path", "objects": [{"name", "score", "box"}, ...]}`` a photo, or ``{"path", "error"}``.

    Raises:
        FileNotFoundError: a path, the run or the weights are missing.
        ValueError: the folders hold no photo, or the model does not know one of the classes.
    """
    task, model, config = loaded(checkpoint, weights)
    strange = [name for name in classes if name not in config.classes]
    if strange:
        known = ", ".join(config.classes)
        raise ValueError(f"the model does not know {', '.join(strange)}; it knows {known}")
    hits = list_photos(paths)
    value: Any = task
    photos = ImageDataset([Photo(path, 0) for path in hits], config.classes)
    loader = Loader(photos, value.square(), batch_size=BATCH, workers=workers)
    forward, head = inference_forward(model, "objects", choose_precision(precision)), model.heads["objects"]
    plain = task.head_spec(head, config)
    spec = replace(plain, extra={**plain.extra, "shown": threshold})
    if draw is not None:
        writable_folder(draw, "--draw")
    for batch in loader.epoch(0):
        lines = batch.errors(hits)
        with torch.inference_mode():
            outputs = forward(batch.images) if batch.indices else None
        sizes = [image_size(hits[index]) for index in batch.indices]
        kept = arrays(spec, task.postprocess(head, outputs)) if batch.indices else [[], [], []]
        results = decode(spec, kept, sizes, top=ALL)
        for index, result in zip(batch.indices, results, strict=True):
            objects = result.to_dict()["objects"]
            shown = [item for item in objects if not classes or item["name"] in classes][:top]
            lines[index] = {"path": str(hits[index]), "objects": shown}
            if draw is not None:
                drawn(read_image(hits[index]), shown).save(draw / f"{index:04d}-{hits[index].stem}.jpg")
        yield from (lines[index] for index in sorted(lines))
