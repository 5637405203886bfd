"""``predict``: photos in, a line of names and probabilities each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.engine.core.machine import choose_precision
from apps.engine.core.model import answering, load_pretrained, load_run, tta_of
from apps.engine.core.registry import load_app
from apps.engine.core.run_dir import read_config
from apps.engine.data.loader import Batch, looking_loader
from apps.engine.inference.tta import tta_logits
from datasets.base import LabelledPhotos, Photo
from datasets.image_io import list_photos, photo_size

BATCH = 32


def predict(
    paths: Iterable[Path], *, checkpoint: Path | None = None, weights: str | None = None, top: int = 5,
    workers: int | None = None, tta: str | None = None, precision: str = "auto", crops: bool = False,
) -> Iterator[dict[str, Any]]:
    """The likeliest classes of each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: the run to answer with; or ``weights`` with a classifier of their own.
        top: how many classes a photo.
        workers: reading processes; None decides by the cores.
        tta: views of a photo whose answers are averaged; None for those that the run was judged with.
        precision: ``auto``, ``fp32`` or ``bf16``.
        crops: for applications that find faces first: the photos are face crops already.

    Returns:
        ``{"path", "predictions": [{"name", "probability"}, ...], "unknown"}`` a photo, or
        ``{"path", "error"}`` for one that cannot be read.

    Raises:
        FileNotFoundError: a path, the run or the weights are missing.
        ValueError: the run is damaged, or the folders hold no photo.
    """
    if checkpoint is not None:
        own = getattr(load_app(read_config(checkpoint).app), "predict", None)
        if own is not None:
            if tta not in (None, "none"):
                raise ValueError(f"--tta {tta}: runs of this application answer from one view; leave it out")
            yield from own(
                paths, checkpoint=checkpoint, top=top, workers=workers, precision=precision, crops=crops
            )
            return
        app, model, config = load_run(checkpoint)
    else:
        app, model, config = load_pretrained(weights or "")
    found = list_photos(paths)
    photos = LabelledPhotos([Photo(path, 0) for path in found], config.classes)
    loader = looking_loader(photos, config.backbone.preprocessing, batch_size=BATCH, workers=workers)
    forward, kind = answering(model, config.app, choose_precision(precision)), tta_of(config, tta)

    def answers(images: Tensor, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
        output = tta_logits(forward, images, kind)
        return app.answers(model.heads[config.app], output, config, sizes, top=top)

    for batch in loader.epoch(0):
        yield from _lines(batch, answers, found)


@torch.inference_mode()
def _lines(
    batch: Batch, answers: Callable[[Tensor, list[tuple[int, int]]], list[dict[str, Any]]],
    paths: list[Path],
) -> list[dict[str, Any]]:
    lines = batch.errors(paths)
    if batch.indices:
        sizes = [photo_size(paths[index]) for index in batch.indices]
        for index, line in zip(batch.indices, answers(batch.images, sizes), strict=True):
            lines[index] = {"path": str(paths[index]), **line}
    return [lines[index] for index in sorted(lines)]
