"""``detect``: photos in, a line of objects each out, and pictures with boxes drawn, cut out or pixelated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from apps.engine.core.files import writable_folder
from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import decode
from apps.engine.inference.predictions import FailedPrediction
from apps.engine.inference.predictor import ImageLike, Predictor
from apps.engine.scale.answering import about_model, decoded
from apps.engine.scale.rows import columns_of
from apps.objects.drawing import class_colours, cut_out, drawn, pixelated
from datasets.image_io import list_photos, read_image

BLUR_THRESHOLD = 0.15  # of objects that are pixelated: rather a bush than a person left as they are
FACES = "faces"  # a word of --blur beside the classes
FindFaces = Callable[[Image.Image], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Pictures:
    """What is written of each photo beside its line.

    Args:
        draw: folder for photos with their objects framed; None for none.
        crops: folder for the objects, cut out; None for none.
        blur: classes that are pixelated in both, or :data:`FACES`.
        find_faces: gives the boxes of faces.
        colours: of the classes.

    Raises:
        ValueError: ``blur`` without a folder, or faces without what finds them.
        OSError: a folder cannot be written.
    """

    draw: Path | None
    crops: Path | None
    blur: tuple[str, ...]
    find_faces: FindFaces | None
    colours: dict[str, tuple[int, int, int]]

    def __post_init__(self) -> None:
        if self.blur and self.draw is None and self.crops is None:
            raise ValueError("--blur changes what --draw and --crops write; give one of them")
        if FACES in self.blur and self.find_faces is None:
            raise ValueError(f"what finds {FACES} is wanted")
        for folder, flag in ((self.draw, "--draw"), (self.crops, "--crops")):
            if folder is not None:
                writable_folder(folder, flag)

    def write(
        self, path: Path, index: int, objects: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]
    ) -> None:
        """Write the pictures of one photo.

        Args:
            path: of the photo.
            index: its place among all, which keeps names apart.
            objects: all that were detected, with ``name`` and ``box``.
            shown: those that are framed and cut out.
        """
        if self.draw is None and self.crops is None:
            return
        image, name = read_image(path), f"{index:04d}-{path.stem}"
        hidden = [item["box"] for item in objects if item["name"] in self.blur]
        if FACES in self.blur and self.find_faces is not None:
            hidden += self.find_faces(image)
        image = pixelated(image, hidden) if hidden else image
        if self.draw is not None:
            drawn(image, shown, self.colours).save(self.draw / f"{name}.jpg")
        for number, item in enumerate(shown if self.crops is not None else ()):
            part = cut_out(image, item["box"])
            if part is not None and self.crops is not None:
                part.save(self.crops / f"{name}-{number:03d}-{_plain(item['name'])}.jpg", quality=95)


def check_folders(photos: Sequence[Path], folders: Mapping[str, Path | None], *, empty: bool) -> None:
    """Refuse to write pictures among the photos themselves, or beside others that hide nothing.

    Args:
        photos: that pictures are made of.
        folders: for pictures, by the option that names each.
        empty: whether the folders must hold nothing: pictures of before would show what is now pixelated.

    Raises:
        ValueError: a folder holds one of the photos, or is not empty.
    """
    sources = {path.parent.resolve() for path in photos}
    for flag, folder in folders.items():
        if folder is None:
            continue
        if folder.resolve() in sources:
            raise ValueError(f"{flag} {folder} holds the photos themselves; give another folder")
        if empty and folder.is_dir() and any(folder.iterdir()):
            raise ValueError(
                f"{flag} {folder} holds other files, which may show what --blur is to hide; give a new folder"
            )


def _plain(name: str) -> str:
    """A class in the name of a file."""
    return re.sub(r"[^\w-]+", "_", name)[:40] or "object"


def detect(
    paths: Iterable[Path], source: str, *, draw: Path | None = None, crops: Path | None = None,
    blur: Sequence[str] = (), find_faces: FindFaces | None = None, threshold: float = 0.3,
    classes: Sequence[str] = (), top: int | None = None, workers: int | None = None,
    say: Callable[[str], None] = lambda _: None, **how: Any,
) -> Iterator[dict[str, Any]]:
    """The objects on each photo, in the order of the paths.

    Args:
        paths: photos, and folders that are searched for photos.
        source: a run of ``finetune objects``, an exported file of one, or weights that bring a detector.
        draw: folder for the photos with boxes drawn.
        crops: folder for the objects cut out, a file each.
        blur: classes that are pixelated in what ``draw`` and ``crops`` write, also where ``classes`` and
            ``top`` leave them out, from a score of 0.15 on; :data:`FACES` for faces.
        find_faces: gives the boxes of the faces of a photo; for :data:`FACES`.
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
        ValueError: the folders hold no photo, the source is no detector, or does not know one of the classes;
            or classes to pixelate, but no folder to write pictures into.
    """
    predictor = Predictor(source, threads=workers or None, app="objects", **how)
    plain = _detector_head(predictor, classes, blur)
    photos = list_photos(paths)
    check_folders(photos, {"--draw": draw, "--crops": crops}, empty=bool(blur))
    pictures = Pictures(draw, crops, tuple(blur), find_faces, class_colours(plain.classes))
    if predictor.loaded.note:
        say(predictor.loaded.note)
    least = min(threshold, BLUR_THRESHOLD) if blur else threshold
    head = _with_threshold(plain, least)
    for index, (path, (_, outputs, size)) in enumerate(zip(photos, predictor.outputs(photos), strict=True)):
        if isinstance(outputs, FailedPrediction):
            yield {"path": str(path), **outputs.to_dict()}
            continue
        (answer,) = decode(head, outputs, [size])
        objects = answer.to_dict()["objects"]
        shown = _shown(objects, threshold, classes, top)
        try:
            pictures.write(path, index, objects, shown)
        except (OSError, ValueError) as err:
            yield {"path": str(path), "error": f"no picture was written: {err}"}
            continue
        yield {"path": str(path), "objects": shown}


def _detector_head(predictor: Predictor, classes: Sequence[str], blur: Sequence[str]) -> HeadSpec:
    """The head of a detector that knows these classes.

    Raises:
        ValueError: it is none, or does not know one of them.
    """
    plain, *others = predictor.heads
    if others or plain.kind != "detections":
        raise ValueError(
            f"{predictor.source} is no model of objects, but answers {plain.kind}; ask it by `predict`"
        )
    strange = [name for name in (*classes, *blur) if name not in (*plain.classes, FACES)]
    if strange or FACES in classes:
        known = ", ".join([*plain.classes, *([FACES] if blur else ())])
        raise ValueError(f"the model does not know {', '.join(strange) or FACES}; it knows {known}")
    return plain


def _with_threshold(head: HeadSpec, least: float) -> HeadSpec:
    return replace(head, extra={**head.extra, "threshold": least})


def _shown(
    objects: Sequence[dict[str, Any]], threshold: float, classes: Sequence[str], top: int | None
) -> list[dict[str, Any]]:
    """The objects of a line: those of enough score, of the classes asked for, the best ones."""
    wanted = [item for item in objects if item["score"] >= threshold]
    return [item for item in wanted if not classes or item["name"] in classes][:top]


@dataclass(frozen=True)
class Detections:
    """The answers of ``detect`` for many images; see :class:`apps.engine.scale.answering.Answers`.

    Args:
        predictor: of a detector, with one thread.
        threshold: least score, 0 to 1.
        classes: the only ones told; none for all.
        top: most objects an image; None for all.

    Raises:
        ValueError: the model is no detector, or does not know one of the classes.
    """

    predictor: Predictor
    threshold: float
    classes: tuple[str, ...] = ()
    top: int | None = None

    def __post_init__(self) -> None:
        _detector_head(self.predictor, self.classes, ())

    @property
    def batch(self) -> int:
        """As the model's."""
        return self.predictor.loaded.batch

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, and which of its objects are told."""
        asked = {"threshold": self.threshold, "classes": list(self.classes), "top": self.top}
        return about_model(self.predictor) | asked

    @property
    def columns(self) -> Any:
        """Those of objects."""
        return columns_of(["detections"])

    def lines(self, images: Sequence[ImageLike]) -> list[dict[str, Any]]:
        """As the lines of ``detect``, without the path."""
        return decoded(self.predictor, images, self._line)

    def _line(self, raw: Any, size: tuple[int, int]) -> dict[str, Any]:
        (answer,) = decode(_with_threshold(self.predictor.heads[0], self.threshold), raw, [size])
        return {"objects": _shown(answer.to_dict()["objects"], self.threshold, self.classes, self.top)}
