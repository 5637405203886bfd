"""``predict``: photos in, a line of names and probabilities each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.calibration import UnknownRule
from apps.engine.checkpoint import RunConfig
from apps.engine.loader import Batch, looking_loader
from apps.engine.machine import choose_precision
from apps.engine.tta import tta_logits
from apps.model import answering, load_pretrained, load_run, tta_of
from datasets.images import find_photos
from datasets.photos import LabelledPhotos, Photo
from heads import Classifier, MultiHead

BATCH = 32


def predict(
    paths: Iterable[Path], *, checkpoint: Path | None = None, weights: str | None = None, top: int = 5,
    workers: int | None = None, tta: str | None = None, precision: str = "auto",
) -> Iterator[dict[str, Any]]:
    """The likeliest classes of each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: the run to answer with; or ``weights`` with a classifier of their own.
        top: how many classes a photo.
        workers: reading processes; None decides by the cores.
        tta: views of a photo whose answers are averaged; None for those that the run was judged with.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        ``{"path", "predictions": [{"name", "probability"}, ...], "unknown"}`` a photo, or
        ``{"path", "error"}`` for one that cannot be read.

    Raises:
        FileNotFoundError: a path, the run or the weights are missing.
        ValueError: the run is damaged, or the folders hold no photo.
    """
    if checkpoint is not None:
        _, model, config = load_run(checkpoint)
    else:
        _, model, config = load_pretrained(weights or "")
    found = list(find_photos(paths))
    if not found:
        raise ValueError(f"no photo in {', '.join(map(str, paths))}; give photos or folders that hold some")
    photos = LabelledPhotos([Photo(path, 0) for path in found], config.classes)
    loader = looking_loader(photos, config.backbone.preprocessing, batch_size=BATCH, workers=workers)
    forward, kind = answering(model, config.app, choose_precision(precision)), tta_of(config, tta)

    def logits(images: Tensor) -> Tensor:
        return tta_logits(forward, images, kind).float()

    for batch in loader.epoch(0):
        yield from _answers(batch, logits, model, config, found, top)


@torch.inference_mode()
def _answers(
    batch: Batch, logits_of: Callable[[Tensor], Tensor], model: MultiHead, config: RunConfig,
    paths: list[Path], top: int,
) -> list[dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {
        one.index: {"path": str(paths[one.index]), "error": one.reason} for one in batch.bad
    }
    if batch.indices:
        named = _named(logits_of(batch.images), model, config, top)
        for index, line in zip(batch.indices, named, strict=True):
            lines[index] = {"path": str(paths[index]), **line}
    return [lines[index] for index in sorted(lines)]


def _named(logits: Tensor, model: MultiHead, config: RunConfig, top: int) -> list[dict[str, Any]]:
    head = model.heads[config.app]
    if not isinstance(head, Classifier):
        raise ValueError(f"predict names classes; a run of {config.app!r} has none")
    rankings = head.decode(logits, top=top, temperature=config.calibration.get("temperature", 1.0))
    rule = config.calibration.get("unknown")
    unknown = UnknownRule.from_dict(rule).is_unknown(logits.numpy()) if rule else [False] * len(logits)
    return [
        {
            "predictions": [
                {"name": config.classes[i], "probability": round(p, 6)}
                for i, p in zip(ranking.indices, ranking.probabilities, strict=True)
            ],
            "unknown": bool(strange),
        }
        for ranking, strange in zip(rankings, unknown, strict=True)
    ]
