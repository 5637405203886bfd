"""``detect``: photos in, a line of objects each out, and pictures with the boxes drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.engine.core.files import writable_folder
from apps.engine.inference.decode import decode
from apps.engine.inference.predictions import FailedPrediction
from apps.engine.inference.predictor import Predictor
from apps.objects.drawing import drawn
from datasets.image_io import list_photos, read_image


def detect(
    paths: Iterable[Path], source: str, *, draw: Path | None = None, threshold: float = 0.3,
    classes: Sequence[str] = (), top: int | None = None, workers: int | None = None,
    say: Callable[[str], None] = lambda _: None, **how: Any,
) -> Iterator[dict[str, Any]]:
    """The objects on each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        source: a run of ``finetune objects``, an exported file of one, or weights that bring a detector.
        draw: folder for the photos with boxes drawn.
        threshold: least score, 0 to 1; the detector gives none below its own ``score_thresh``.
        classes: the only ones told; none for all.
        top: most objects a photo; None for all.
        workers: threads that read photos and compute; None or 0 takes one for each core.
        say: takes a line of words on what answers.
        how: ``engine``, ``device`` and ``precision`` of a :class:`Predictor`.

    Returns:
        ``{"path", "objects": [{"name", "score", "box"}, ...]}`` a photo, or ``{"path", "error"}``.

    Raises:
        FileNotFoundError: all paths or the source are missing.
        ValueError: the folders hold no photo, the source is no detector, or does not know one of the classes.
    """
    predictor = Predictor(source, threads=workers or None, app="objects", **how)
    plain, *others = predictor.heads
    if others or plain.kind != "detections":
        raise ValueError(f"{source} is no model of objects, but answers {plain.kind}; ask it by `predict`")
    strange = [name for name in classes if name not in plain.classes]
    if strange:
        known = ", ".join(plain.classes)
        raise ValueError(f"the model does not know {', '.join(strange)}; it knows {known}")
    if predictor.loaded.note:
        say(predictor.loaded.note)
    photos, head = list_photos(paths), replace(plain, extra={**plain.extra, "threshold": threshold})
    if draw is not None:
        writable_folder(draw, "--draw")
    results = zip(photos, predictor.outputs(photos), strict=True)
    for index, (path, (_, outputs, size)) in enumerate(results):
        if isinstance(outputs, FailedPrediction):
            yield {"path": str(path), **outputs.to_dict()}
            continue
        (answer,) = decode(head, outputs, [size])
        objects = answer.to_dict()["objects"]
        shown = [item for item in objects if not classes or item["name"] in classes][:top]
        if draw is not None:
            drawn(read_image(path), shown).save(draw / f"{index:04d}-{path.stem}.jpg")
        yield {"path": str(path), "objects": shown}
