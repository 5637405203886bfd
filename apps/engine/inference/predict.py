"""``predict``: photos in, a line of names and probabilities each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.engine.core.machine import choose_precision
from apps.engine.core.model import inference_forward, load_source, tta_of
from apps.engine.core.registry import load_task
from apps.engine.core.run_dir import read_config
from apps.engine.core.task import AnyTask
from apps.engine.data.loader import Batch
from apps.engine.inference.answers import answers as answers_of
from apps.engine.inference.batches import answer_loader
from apps.engine.inference.tta import tta_logits
from datasets.base import ImageDataset, Photo
from datasets.image_io import image_size, list_photos

TOP = 5  # classes, cells or objects a photo
WHY_NOT = {
    "top": "their answers are no list with the likeliest first",
    "tta": "they answer from one view of a photo",
    "crops": "they look at whole photos, not at faces",
}


def check_options(
    apps: Sequence[type[AnyTask]], *, top: int | None, tta: str | None, crops: bool = False
) -> None:
    """Refuse what ``predict`` does not understand for runs of these applications.

    ``top`` must be of use to one of them, the others to all.

    Raises:
        ValueError: an option is given that has no effect, or that no answer could be given with.
    """
    given = {"top": top is not None, "tta": tta not in (None, "none"), "crops": crops}
    for option in (name for name, used in given.items() if used):
        without = [task.name for task in apps if option not in task.predict_options]
        if without and (option != "top" or len(without) == len(apps)):
            names = ", ".join(dict.fromkeys(without))
            raise ValueError(f"--{option} is not for runs of {names}: {WHY_NOT[option]}; leave it out")


def predict(
    paths: Iterable[Path], *, checkpoint: Path | None = None, weights: str | None = None,
    app: str | None = None, top: int | None = None, workers: int | None = None, tta: str | None = None,
    precision: str = "auto", crops: bool = False,
) -> Iterator[dict[str, Any]]:
    """The likeliest classes of each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        checkpoint: the run to answer with; or ``weights`` that bring a head along.
        app: what the weights are to answer, where they can answer several things; of a run, what it must be.
        top: how many classes, cells or objects a photo; None for 5.
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
    task_class = load_task(app or ("imagenet" if checkpoint is None else read_config(checkpoint).app))
    check_options([task_class], top=top, tta=tta, crops=crops)
    source = Path(weights or "") if checkpoint is None else checkpoint
    if task_class.file_predictor is not None:
        more = {"crops": crops} if "crops" in task_class.predict_options else {}
        yield from task_class.file_predictor(
            paths, checkpoint=source, top=top or TOP, workers=workers, precision=precision, **more
        )
        return
    task, model, config = load_source(source, app=app)
    result = list_photos(paths)
    photos = ImageDataset([Photo(path, 0) for path in result], config.classes)
    loader = answer_loader(photos, config.backbone.preprocessing, workers=workers)
    forward, views = inference_forward(model, config.app, choose_precision(precision)), tta_of(config, tta)

    def answers(images: Tensor, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
        output = tta_logits(forward, images, views)
        results = answers_of(task, model.heads[config.app], output, config, sizes, top=top or TOP)
        return [answer.to_dict() for answer in results]

    for batch in loader.epoch(0):
        yield from _lines(batch, answers, result)


@torch.inference_mode()
def _lines(
    batch: Batch, answers: Callable[[Tensor, list[tuple[int, int]]], list[dict[str, Any]]],
    paths: list[Path],
) -> list[dict[str, Any]]:
    lines = batch.errors(paths)
    if batch.indices:
        sizes = [image_size(paths[index]) for index in batch.indices]
        for index, line in zip(batch.indices, answers(batch.images, sizes), strict=True):
            lines[index] = {"path": str(paths[index]), **line}
    return [lines[index] for index in sorted(lines)]
