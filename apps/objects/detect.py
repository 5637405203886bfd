"""``detect``: photos in, a line of objects each out, and pictures with boxes drawn, cut out or pixelated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from apps.engine.core.files import writable_folder, write_whole
from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import decode
from apps.engine.inference.predictions import FailedPrediction
from apps.engine.inference.predictor import Predictor
from apps.objects.drawing import class_colours, cut_out, drawn, pixelated
from apps.objects.video.film import Film, check_film, filming, is_film
from apps.objects.video.live import Live
from datasets.file_kinds import ONE_A_SECOND, Sampling
from datasets.image_io import BadImageError, list_photos, read_image
from datasets.outside import DiskError
from datasets.video import Frame, Medium, is_video, media, place_of

if TYPE_CHECKING:
    from apps.objects.video.track import Tracker

WEAK = 0.15  # least score of what is pixelated, rather a bush than a person; and of what carries on a track
FRAME_SECONDS = 0.04  # that a single picture of a drawn video stays
FACES = "faces"  # a word of --blur beside the classes
FindFaces = Callable[[Image.Image], Sequence[Sequence[float]]]
Marking = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Pictures:
    """What is written of each photo beside its line.

    Args:
        draw: folder for photos with their objects framed; None for none.
        crops: folder for the objects, cut out; None for none.
        blur: classes that are pixelated in both, or :data:`FACES`.
        find_faces: gives the boxes of faces.
        colours: of the classes.
        filmed: drawings go into a video, too.

    Raises:
        ValueError: ``blur`` without a folder, or faces without what finds them.
        OSError: a folder cannot be written.
    """

    draw: Path | None
    crops: Path | None
    blur: tuple[str, ...]
    find_faces: FindFaces | None
    colours: dict[str, tuple[int, int, int]]
    filmed: bool = False

    def __post_init__(self) -> None:
        if self.blur and self.draw is None and self.crops is None and not self.filmed:
            raise ValueError("--blur changes what --draw and --crops write; give one of them")
        if FACES in self.blur and self.find_faces is None:
            raise ValueError(f"what finds {FACES} is wanted")
        for folder, flag in ((self.draw, "--draw"), (self.crops, "--crops")):
            if folder is not None:
                writable_folder(folder, flag)

    def write(
        self, medium: Medium, index: int, objects: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]],
        film: Film | None = None,
    ) -> None:
        """Write the pictures of one photo or frame.

        Args:
            medium: the photo's path, or the frame.
            index: its place among all, which keeps names apart.
            objects: all that were detected, with ``name`` and ``box``.
            shown: those that are framed and cut out.
            film: takes the drawn picture instead of the folder.
        """
        if self.draw is None and self.crops is None and film is None:
            return
        image, name = _picture(medium, index)
        hidden = [item["box"] for item in objects if item["name"] in self.blur]
        if FACES in self.blur and self.find_faces is not None:
            hidden += self.find_faces(image)
        image = pixelated(image, hidden) if hidden else image
        if film is not None and isinstance(medium, Frame):
            film.add(drawn(image, shown, self.colours), medium.time)
        if self.draw is not None:
            _save(drawn(image, shown, self.colours), self.draw / f"{name}.jpg")
        for number, item in enumerate(shown if self.crops is not None else ()):
            part = cut_out(image, item["box"])
            if part is not None and self.crops is not None:
                _save(part, self.crops / f"{name}-{number:03d}-{_plain(item['name'])}.jpg", quality=95)


def _save(image: Image.Image, path: Path, **how: Any) -> None:
    write_whole(path, lambda temporary: image.save(temporary, **how))


def _picture(medium: Medium, index: int) -> tuple[Image.Image, str]:
    """A photo or frame in memory, and the name of what is made of it."""
    if isinstance(medium, Frame):
        stem = re.sub(r"[^\w.-]+", "_", Path(medium.path).stem)
        return Image.fromarray(medium.pixels), f"{index:04d}-{stem}-{medium.time:010.3f}"
    path = medium.path if isinstance(medium, BadImageError) else medium
    return read_image(path), f"{index:04d}-{path.stem}"


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
    sampling: Sampling = ONE_A_SECOND, live: Live | None = None, track: bool = False,
    say: Callable[[str], None] = lambda _: None, know: Callable[[Sequence[str]], None] = lambda _: None,
    **how: Any,
) -> Iterator[dict[str, Any]]:
    """The objects on each photo, and on each frame of a video, in the order of the paths.

    Args:
        paths: photos, videos, and folders that are searched for photos; none beside ``live``.
        source: a run of ``finetune objects``, an exported file of one, or weights that bring a detector.
        draw: folder for the photos with boxes drawn; or, for one video or stream, a video to write.
        crops: folder for the objects cut out, a file each.
        blur: classes that are pixelated in what ``draw`` and ``crops`` write, also where ``classes`` and
            ``top`` leave them out, from a score of 0.15 on; :data:`FACES` for faces.
        find_faces: gives the boxes of the faces of a photo; for :data:`FACES`.
        threshold: least score, 0 to 1; the detector gives none below its own ``score_thresh``.
        classes: the only ones reported; none for all.
        top: most objects a photo; None for all.
        workers: threads that read photos and compute; None or 0 takes one for each core.
        sampling: which frames of videos.
        live: a camera or a stream instead of paths.
        track: whether objects of a video or stream get an ``id`` that stays from frame to frame.
        say: takes a line of words on what answers.
        know: takes the classes of the model, before the first answer.
        how: ``engine``, ``device``, ``precision`` and ``slices`` of a :class:`Predictor`.

    Returns:
        ``{"path", "objects": [{"name", "score", "box"}, ...]}`` a photo, or ``{"path", "error"}``; of a frame
        with ``time`` and ``frame``, too.

    Raises:
        FileNotFoundError: all paths or the source are missing.
        ValueError: the folders hold no photo, the source is no detector, or does not know one of the classes;
            or classes to pixelate, but no folder to write pictures into.
    """
    predictor, plain = open_detector(source, classes, blur, workers=workers, **how)
    know(plain.classes)
    photos = [] if live is not None else list_photos(paths, videos=sampling.videos)
    film, folder = (draw, None) if is_film(draw) else (None, draw)
    _check_film(film, photos, live)
    check_folders(photos, {"--draw": folder, "--crops": crops}, empty=bool(blur))
    colours = class_colours(plain.classes)
    pictures = Pictures(folder, crops, tuple(blur), find_faces, colours, filmed=film is not None)
    if predictor.loaded.note:
        say(predictor.loaded.note)
    tracker = _tracker(threshold, photos, live) if track else None
    least = min(threshold, WEAK) if blur or track else threshold
    head = replace(plain, extra={**plain.extra, "threshold": least})
    chosen = partial(choose, threshold=threshold, classes=classes, top=top)

    with filming(film, sampling.every or FRAME_SECONDS) as film_of:
        outputs = _outputs(predictor, photos, sampling, live)
        for index, (medium, raw, size) in enumerate(outputs):
            place = place_of(medium) if live is None or isinstance(medium, Frame) else {"path": live.name}
            ways = _marking(tracker, medium), chosen
            yield place | _answer(head, raw, size, medium, index, *ways, pictures, film_of)


def choose(
    objects: Sequence[dict[str, Any]], *, threshold: float, classes: Sequence[str], top: int | None
) -> list[dict[str, Any]]:
    """The objects that are reported: of enough score, of the classes asked for, the best ones."""
    wanted = [item for item in objects if item["score"] >= threshold]
    return [item for item in wanted if not classes or item["name"] in classes][:top]


def open_detector(
    source: str, classes: Sequence[str], blur: Sequence[str], *, workers: int | None, **how: Any
) -> tuple[Predictor, HeadSpec]:
    """What answers, and its head.

    Raises:
        ValueError: it is no detector, or does not know one of the classes.
    """
    predictor = Predictor(source, threads=workers or None, app="objects", **how)
    plain, *others = predictor.heads
    if others or plain.kind != "detections":
        raise ValueError(f"{source} is no model of objects, but answers {plain.kind}; ask it by `predict`")
    strange = [name for name in (*classes, *blur) if name not in (*plain.classes, FACES)]
    if strange or FACES in classes:
        known = ", ".join([*plain.classes, *([FACES] if blur else ())])
        raise ValueError(f"the model does not know {', '.join(strange) or FACES}; it knows {known}")
    return predictor, plain


def _answer(
    head: HeadSpec, raw: Any, size: tuple[int, int], medium: Medium, index: int, marked: Marking,
    chosen: Marking, pictures: Pictures, film: Film | None,
) -> dict[str, Any]:
    """``{"objects"}`` or ``{"error"}`` of one image, whose pictures are written."""
    if isinstance(raw, FailedPrediction):
        return raw.to_dict()
    (answer,) = decode(head, raw, [size])
    objects = marked(answer.to_dict()["objects"])
    shown = chosen(objects)
    try:
        pictures.write(medium, index, objects, shown, film)
    except DiskError:
        raise
    except (OSError, ValueError) as err:
        return {"error": f"no picture was written: {err}"}
    return {"objects": shown}


def _tracker(threshold: float, photos: Sequence[Path], live: Live | None) -> Tracker:
    """What follows objects.

    Raises:
        ValueError: there is no video to follow them through.
    """
    from apps.objects.video.track import Tracker

    if live is None and not any(map(is_video, photos)):
        raise ValueError("--track follows objects through videos and streams; give one, or leave it out")
    return Tracker(threshold)


def _marking(tracker: Tracker | None, medium: Medium) -> Marking:
    """What gives objects their ids; those of photos have none."""
    if tracker is None or not isinstance(medium, Frame):
        return list
    return partial(tracker.marked, video=str(medium.path), time=medium.time)


def _outputs(
    predictor: Predictor, photos: Sequence[Path], sampling: Sampling, live: Live | None
) -> Iterator[tuple[Any, Any, tuple[int, int]]]:
    """Each photo or frame with the outputs for it; those of a stream one by one, as they come."""
    if live is None:
        yield from predictor.outputs(media(photos, sampling.every))
        return
    for frame in live.frames():
        yield from predictor.outputs(iter((frame,)))


def _check_film(film: Path | None, photos: Sequence[Path], live: Live | None) -> None:
    """Refuse a video to draw into where there is not one video to draw.

    Raises:
        ImportError: PyAV is missing.
        OSError: the folder cannot be written.
        ValueError: see above, or it would replace the video itself or a file of another kind.
    """
    if film is None:
        return
    check_film(film)
    if live is None and (len(photos) != 1 or not is_video(photos[0])):
        raise ValueError(f"--draw {film} draws one video or stream; give one, or a folder for pictures")
    if photos and film.resolve() == photos[0].resolve():
        raise ValueError(f"--draw {film} is the video itself; give another name")
    writable_folder(film.parent, "--draw")
