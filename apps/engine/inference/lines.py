"""The lines of ``predict``: which options make sense, and a JSON object a photo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.engine.core.registry import load_task
from apps.engine.core.run_values import run_values
from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.predictor import Predictor
from datasets.file_kinds import ONE_A_SECOND, Sampling
from datasets.image_io import list_photos
from datasets.video import Medium, media, place_of

if TYPE_CHECKING:
    from apps.engine.core.task import AnyTask

WHY_NOT = {
    "top": "their answers are no list with the likeliest first",
    "tta": "they answer from one view of a photo",
    "crops": "they look at whole photos, not at faces",
    "detector": "they look at whole photos, not at faces",
}


def check_options(
    apps: Sequence[type[AnyTask]], *, top: int | None, tta: str | None, crops: bool = False,
    detector: str | None = None,
) -> None:
    """Refuse what ``predict`` does not understand for runs of these applications.

    ``top`` must be of use to one of them, the others to all.

    Raises:
        ValueError: an option is given that has no effect, or that no answer could be given with.
    """
    given = {
        "top": top is not None, "tta": tta not in (None, "none"), "crops": crops,
        "detector": detector is not None,
    }
    for option in (name for name, used in given.items() if used):
        without = [app.name for app in apps if option not in app.predict_options]
        if without and (option != "top" or len(without) == len(apps)):
            names = ", ".join(dict.fromkeys(without))
            raise ValueError(f"--{option} is not for runs of {names}: {WHY_NOT[option]}; leave it out")


def predict(
    paths: Iterable[Path], source: str, *, is_run: bool, top: int | None = None, crops: bool = False,
    detector: str | None = None, sampling: Sampling = ONE_A_SECOND,
    say: Callable[[str], None] = lambda _: None, know: Callable[[Sequence[str]], None] = lambda _: None,
    **how: Any,
) -> Iterator[dict[str, Any]]:
    """The answer for each photo, and each frame of a video, in the order of the paths.

    Args:
        paths: photos, videos, and folders that are searched for photos.
        source: a run, an exported file, or the name of weights with a classifier.
        is_run: whether it must be a run.
        top: how many classes, cells or objects a photo; None for 5, and for all objects.
        crops: for applications that find faces first: the photos are face crops already.
        detector: what finds them; None for the usual one.
        sampling: which frames of videos.
        say: takes a line of words.
        know: takes the classes of the model, where it has some, before the first answer.
        how: ``app``, ``engine``, ``device``, ``threads``, ``precision`` and ``tta`` of a :class:`Predictor`.

    Returns:
        ``{"path", "predictions": [{"name", "probability"}, ...], "unknown"}`` a photo, or what else its head
        answers, or ``{"path", "error"}`` for one that cannot be read; of a frame with ``time``, ``frame``.

    Raises:
        FileNotFoundError: a path or the source is missing.
        ValueError: the source is damaged, an option has no effect on it, or the folders hold no photo.
    """
    task = _asked_task(source, is_run=is_run, top=top, crops=crops, detector=detector, how=how)
    if task is not None and task.file_predictor is not None:
        more = {name: how[name] for name in ("engine", "device", "precision") if name in how}
        yield from task.file_predictor(
            paths, checkpoint=Path(source), top=top, workers=how.get("threads"), say=say, crops=crops,
            detector=detector, sampling=sampling, **{"precision": "auto"} | more,
        )
        return
    predictor = _predictor(source, task, top, say, how)
    know([name for head in predictor.heads if kind_of(head.kind).ranked for name in head.classes])
    photos = list_photos(paths, videos=sampling.videos)
    yield from photo_lines(predictor, media(photos, sampling.every), top)


def predictor_of(
    source: str, *, is_run: bool, top: int | None = None, crops: bool = False, detector: str | None = None,
    say: Callable[[str], None] = lambda _: None, **how: Any,
) -> Predictor:
    """What answers for images alone, wherever they come from; arguments as of :func:`predict`.

    Raises:
        FileNotFoundError, ValueError: as :func:`predict`; or the application looks for something on an image
            first, such as faces, and answers for files alone.
    """
    task = _asked_task(source, is_run=is_run, top=top, crops=crops, detector=detector, how=how)
    if task is not None and task.file_predictor is not None:
        instead = {"objects": "`detect`", "faces": "`embed-faces`"}.get(task.name, "without --out")
        raise ValueError(f"models of {task.name} answer for single files here; ask them by {instead}")
    return _predictor(source, task, top, say, how)


def _asked_task(
    source: str, *, is_run: bool, top: int | None, crops: bool, detector: str | None, how: dict[str, Any]
) -> type[AnyTask] | None:
    """The application of a run, or that weights are asked for; None for neither."""
    asked = how.get("app")
    if detector is not None and not is_run and asked is None:
        raise ValueError(f"--detector is not for {source}: {WHY_NOT['detector']}; leave it out")
    if not is_run and asked is None:
        return None
    name = run_values(Path(source), app=asked, weights=False)["app"] if is_run else asked
    task = load_task(str(name))
    check_options([task], top=top, tta=how.get("tta"), crops=crops, detector=detector)
    return task


def _predictor(
    source: str, task: type[AnyTask] | None, top: int | None, say: Callable[[str], None], how: dict[str, Any]
) -> Predictor:
    predictor = Predictor(source, **how)
    if predictor.loaded.note:
        say(predictor.loaded.note)
    if task is None:
        _check_heads(predictor, source, top, how.get("tta"))
    if predictor.loaded.spec.of_faces:
        say(f"{source} answers for faces: each image is taken as one face, cut out already")
    return predictor


def _check_heads(predictor: Predictor, source: object, top: int | None, tta: str | None) -> None:
    """Refuse options that have no effect on the heads of a file or of weights."""
    kinds = [kind_of(head.kind) for head in predictor.heads]
    if top is not None and not any(kind.ranked for kind in kinds):
        raise ValueError(f"--top is not for {source}: {WHY_NOT['top']}; leave it out")
    if tta not in (None, "none") and not all(kind.views for kind in kinds):
        raise ValueError(f"--tta is not for {source}: {WHY_NOT['tta']}; leave it out")


def photo_lines(predictor: Predictor, photos: Iterator[Medium], top: int | None) -> Iterator[dict[str, Any]]:
    """``{"path", ...}`` a photo or a frame: its answer, or ``{"path", "error"}``."""
    for medium, answer in predictor.stream(photos, top=top):
        yield {**place_of(medium), **answer.to_dict()}
