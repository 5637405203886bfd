"""``predict --heads``: the heads of several runs answer from one pass of the backbone that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.engine.core.registry import load_task
from apps.engine.core.run_values import run_values
from apps.engine.core.task import Subject
from apps.engine.inference.lines import WHY_NOT, check_options, photo_lines
from apps.engine.inference.predictor import Predictor
from datasets.file_kinds import ONE_A_SECOND, Sampling
from datasets.image_io import list_photos
from datasets.video import Medium, media

IMAGES: Subject = "images"
FACES: Subject = "faces"
PLACE = ("path", "time", "frame")
OWN_WAY: Subject = "own"
WORDS = {IMAGES: "whole photos", FACES: "the faces on photos"}


@dataclass(frozen=True)
class HeadRun:
    """One run among those that answer together.

    Args:
        name: under which its answers stand.
        run: its folder.
        values: of its ``config.json``.
    """

    name: str
    run: Path
    values: Mapping[str, Any]

    @property
    def app(self) -> str:
        """Its application."""
        return str(self.values["app"])

    @property
    def fingerprint(self) -> str:
        """Of its backbone."""
        return str(self.values["fingerprint"])

    @property
    def seen(self) -> dict[str, Any]:
        """How it wants its images."""
        seen: dict[str, Any] = self.values["backbone"]["preprocessing"]
        return seen

    @property
    def subject(self) -> Subject:
        """What its application looks at: whole images, the faces on them, or it has a way of its own."""
        return load_task(self.app).subject

    def shares(self, other: HeadRun) -> bool:
        """Whether one pass of one backbone serves both."""
        same = self.fingerprint == other.fingerprint and self.seen == other.seen
        return same and self.subject == other.subject != OWN_WAY


def head_runs(runs: Sequence[Path]) -> list[HeadRun]:
    """The runs with the names of their answers.

    The name is the application's; runs of one application go by their folders' names, and folders of one
    name are numbered: ``dogs``, ``dogs-2``.
    """
    values = [run_values(run) for run in runs]
    kinds = [item["app"] for item in values]
    names: list[str] = []
    for run, kind in zip(runs, kinds, strict=True):
        plain = kind if kinds.count(kind) == 1 else run.resolve().name
        name, number = plain, 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return [HeadRun(name, run, item) for name, run, item in zip(names, runs, values, strict=True)]


def passes_of(members: Sequence[HeadRun], *, separate: bool) -> list[list[HeadRun]]:
    """The members by passes: those of one backbone that see images alike are together.

    Raises:
        ValueError: more than one pass is needed, and ``separate`` does not allow it.
    """
    passes: list[list[HeadRun]] = []
    for member in members:
        home = next((group for group in passes if group[0].shares(member)), None)
        if home is None:
            passes.append([member])
        else:
            home.append(member)
    if len(passes) > 1 and not separate:
        raise ValueError(_why(passes[0][0], passes[1][0]))
    return passes


def _why(head_run: HeadRun, other: HeadRun) -> str:
    """Why two runs cannot answer from one pass, and what to do."""
    for looking in (head_run, other):
        if looking.subject == OWN_WAY:
            return (
                f"{looking.run} looks at photos in a way of its own ({looking.app}), so one pass does "
                "not serve it; give --allow-separate"
            )
    if head_run.subject != other.subject:
        return (
            f"{head_run.run} looks at {WORDS[head_run.subject]}, {other.run} at {WORDS[other.subject]}, so "
            "one pass does not serve both; give --allow-separate"
        )
    prints = head_run.fingerprint, other.fingerprint
    if prints[0] != prints[1]:
        return (
            f"{head_run.run} has the backbone {prints[0]}, {other.run} has {prints[1]}: one pass serves one "
            "backbone; train them with `joint`, or on the same --weights with --freeze, or give "
            "--allow-separate"
        )
    return (
        f"{head_run.run} and {other.run} share the backbone {prints[0]}, but the one sees photos at "
        f"{_seen(head_run.seen)}, the other at {_seen(other.seen)}; train them with one --resolution, or "
        "give --allow-separate"
    )


def _seen(seen: Mapping[str, Any]) -> str:
    return f"{seen['resolution']} px (crop {seen['crop']:g}, mean {seen['mean'][0]:g}, {seen['order']})"


def predict_heads(
    paths: Iterable[Path], runs: Sequence[Path], *, separate: bool = False, top: int | None = None,
    detector: str | None = None, sampling: Sampling = ONE_A_SECOND,
    say: Callable[[str], None] = lambda _: None, **how: Any,
) -> Iterator[dict[str, Any]]:
    """What every run says to each image, in the order of the paths.

    Args:
        paths: images, and folders that are searched for images.
        runs: folders of finished runs, one or more.
        separate: allow a pass a backbone where the runs do not share one.
        top: how many classes, cells or objects an image, where there are some; None for 5, and for all
            objects.
        detector: what finds faces for runs that answer for them; None for the usual one.
        sampling: which frames of videos.
        say: takes a line of words.
        how: ``engine``, ``device``, ``threads``, ``precision`` and ``tta`` of a :class:`Predictor`.

    Returns:
        ``{"path", "answers": {NAME: {...}}}`` an image, or ``{"path", "error"}``. Of an application that
        answers for faces, ``{"faces": [{"face", "box", ...}, ...]}``, none where no face is found.

    Raises:
        FileNotFoundError: a path or a run is missing.
        ValueError: a run is damaged, the folders hold no image, or the runs do not share a backbone.
    """
    members = head_runs(runs)
    check_options([load_task(member.app) for member in members], top=top, tta=how.get("tta"))
    passes = passes_of(members, separate=separate)
    if detector is not None and all(member.subject != FACES for member in members):
        raise ValueError(f"--detector is not for these runs: {WHY_NOT['detector']}; leave it out")
    photos = list_photos(paths, videos=sampling.videos)
    lines = []
    for group in passes:
        if group[0].subject == OWN_WAY:
            lines.append(_own_lines(group[0], photos, top=top, sampling=sampling, **how))
            continue
        predictor = Predictor(tuple((member.name, str(member.run)) for member in group), **how)
        if predictor.loaded.note:
            say(predictor.loaded.note)
        if group[0].subject == FACES:
            lines.append(_face_lines(predictor, photos, detector, sampling))
        else:
            lines.append(_shared_lines(predictor, media(photos, sampling.every), top))
    for parts in zip(*lines, strict=True):
        yield _merged(parts)


def _merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The lines of several passes over one image as one; an error of one is that of the image."""
    failed = next((part for part in parts if "error" in part), None)
    if failed is not None:
        return {**_place(failed), "error": failed["error"]}
    answers = {name: answer for part in parts for name, answer in part["answers"].items()}
    return {**_place(parts[0]), "answers": answers}


def _place(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of where its image is."""
    return {key: line[key] for key in PLACE if key in line}


def _own_lines(
    member: HeadRun, photos: list[Path], *, top: int | None, sampling: Sampling, **how: Any
) -> Iterator[dict[str, Any]]:
    """The lines of an application that looks in a way of its own."""
    predictor = load_task(member.app).file_predictor
    if predictor is None:
        raise TypeError(f"{member.app} answers in a way of its own, but has no file_predictor")
    lines = predictor(
        photos, checkpoint=member.run, top=top, workers=how.get("threads"),
        precision=how.get("precision", "auto"), engine=how.get("engine", "auto"),
        device=how.get("device", "auto"), sampling=sampling,
    )
    for line in lines:
        if "error" in line:
            yield line
        else:
            answer = {key: value for key, value in line.items() if key not in PLACE}
            yield {**_place(line), "answers": {member.name: answer}}


def _shared_lines(
    predictor: Predictor, photos: Iterator[Medium], top: int | None
) -> Iterator[dict[str, Any]]:
    """The lines of the runs that one pass serves; a single head's answer gets its name, too."""
    heads = predictor.heads
    for line in photo_lines(predictor, photos, top):
        if len(heads) > 1 or "error" in line:
            yield line
        else:
            answer = {key: value for key, value in line.items() if key not in PLACE}
            yield {**_place(line), "answers": {heads[0].name: answer}}


def _face_lines(
    predictor: Predictor, photos: list[Path], detector: str | None, sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """The lines of the runs that answer for faces: these are found once, and one pass serves all runs."""
    from apps.faces import NO_FACE
    from apps.faces.extraction.crops import faces_of
    from apps.faces.extraction.sources import source_of

    names = [head.name for head in predictor.heads]
    sources = map(source_of, media(photos, sampling.every))
    for place, problem, faces in faces_of(sources, predictor, detector=detector):
        if problem not in ("", NO_FACE):
            yield {**place, "error": problem}
            continue
        yield {**place, "answers": {name: {"faces": [_of_head(face, name, names) for face in faces]}
                                         for name in names}}


def _of_head(face: dict[str, Any], name: str, names: Sequence[str]) -> dict[str, Any]:
    """What one head says of a face; a single head's answer stands there without its name."""
    if len(names) == 1:
        return face
    answer: dict[str, Any] = face["answers"][name]
    return {"face": face["face"], "box": face["box"]} | answer
