"""``predict --heads``: the heads of several runs answer from one pass of the backbone that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.engine.core.machine import choose_precision
from apps.engine.core.model import load_run, tta_of
from apps.engine.core.registry import load_task
from apps.engine.core.run_dir import RunConfig, read_config
from apps.engine.core.task import AnyTask, Subject
from apps.engine.data.loader import Batch
from apps.engine.inference.answers import answers
from apps.engine.inference.batches import answer_loader
from apps.engine.inference.predict import TOP, check_options
from apps.engine.inference.tta import tta_logits
from backbone import Preprocessing, inference_model
from datasets.base import ImageDataset, Photo
from datasets.image_io import image_size, list_photos
from heads import MultiHead

IMAGES: Subject = "images"
FACES: Subject = "faces"
OWN_WAY: Subject = "own"
WORDS = {IMAGES: "whole photos", FACES: "the faces on photos"}
Forward = Callable[[Tensor], dict[str, Any]]


@dataclass(frozen=True)
class HeadRun:
    """One run among those that answer together.

    Args:
        name: under which its answers stand.
        run: its folder.
        config: of the run.
    """

    name: str
    run: Path
    config: RunConfig

    @property
    def seen(self) -> Preprocessing:
        """How it wants its images."""
        return self.config.backbone.preprocessing

    @property
    def subject(self) -> Subject:
        """What its application looks at: whole images, the faces on them, or it has a way of its own."""
        return load_task(self.config.app).subject

    def shares(self, other: HeadRun) -> bool:
        """Whether one pass of one backbone serves both."""
        same = self.config.fingerprint == other.config.fingerprint and self.seen == other.seen
        return same and self.subject == other.subject != OWN_WAY


def head_runs(runs: Sequence[Path]) -> list[HeadRun]:
    """The runs with the names of their answers.

    The name is the application's; runs of one application go by their folders' names, and folders of one
    name are numbered: ``dogs``, ``dogs-2``.
    """
    configs = [read_config(run) for run in runs]
    kinds = [config.app for config in configs]
    names: list[str] = []
    for run, kind in zip(runs, kinds, strict=True):
        plain = kind if kinds.count(kind) == 1 else run.resolve().name
        name, number = plain, 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return [HeadRun(name, run, config) for name, run, config in zip(names, runs, configs, strict=True)]


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
                f"{looking.run} looks at photos in a way of its own ({looking.config.app}), so one pass does "
                "not serve it; give --allow-separate"
            )
    if head_run.subject != other.subject:
        return (
            f"{head_run.run} looks at {WORDS[head_run.subject]}, {other.run} at {WORDS[other.subject]}, so "
            "one pass does not serve both; give --allow-separate"
        )
    prints = head_run.config.fingerprint, other.config.fingerprint
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


def _seen(seen: Preprocessing) -> str:
    return f"{seen.resolution} px (crop {seen.crop:g}, mean {seen.mean[0]:g}, {seen.order})"


def one_pass(model: MultiHead, dtype: torch.dtype = torch.float32) -> Forward:
    """The output of every head from one pass of a copy of the backbone that is made for answering.

    Args:
        model: as trained; the copy does not follow when it learns on.
        dtype: in which the backbone computes.
    """
    backbone: Any = model.backbone
    network = inference_model(backbone, dtype)
    heads: dict[str, Any] = {name: head.eval() for name, head in model.heads.items()}

    def forward(images: Tensor) -> dict[str, Any]:
        maps = {stride: value.float() for stride, value in network(images).items()}
        return {name: head(*(maps[s] for s in model.strides[name])) for name, head in heads.items()}

    return forward


def predict_heads(
    paths: Iterable[Path], runs: Sequence[Path], *, separate: bool = False, top: int | None = None,
    workers: int | None = None, tta: str | None = None, precision: str = "auto",
) -> Iterator[dict[str, Any]]:
    """What every run says to each image, in the order of the paths.

    Args:
        paths: images, and folders that are searched for images.
        runs: folders of finished runs, one or more.
        separate: allow a pass a backbone where the runs do not share one.
        top: how many classes, cells or objects an image, where there are some; None for 5.
        workers: reading processes; None decides by the cores.
        tta: views of an image whose answers are averaged; None for those that each run was evaluated with.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        ``{"path", "answers": {NAME: {...}}}`` an image, or ``{"path", "error"}``. Of an application that
        answers for faces, ``{"faces": [{"face", "box", ...}, ...]}``, none where no face is found.

    Raises:
        FileNotFoundError: a path or a run is missing.
        ValueError: a run is damaged, the folders hold no image, or the runs do not share a backbone.
    """
    members, best = head_runs(runs), top or TOP
    check_options([load_task(member.config.app) for member in members], top=top, tta=tta)
    passes = passes_of(members, separate=separate)
    result = list_photos(paths)
    lines = []
    for group in passes:
        if group[0].subject == OWN_WAY:
            lines.append(_own_lines(group[0], result, top=best, workers=workers, precision=precision))
        elif group[0].subject == FACES:
            lines.append(_face_lines(group, result, top=best, workers=workers, precision=precision))
        else:
            lines.append(
                _shared_lines(group, result, top=best, workers=workers, tta=tta, precision=precision)
            )
    for parts in zip(*lines, strict=True):
        yield _merged(parts)


def _merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The lines of several passes over one image as one; an error of one is that of the image."""
    failed = next((part for part in parts if "error" in part), None)
    if failed is not None:
        return {"path": failed["path"], "error": failed["error"]}
    answers = {name: answer for part in parts for name, answer in part["answers"].items()}
    return {"path": parts[0]["path"], "answers": answers}


def _own_lines(member: HeadRun, photos: list[Path], **options: Any) -> Iterator[dict[str, Any]]:
    """The lines of an application that looks in a way of its own."""
    predictor = load_task(member.config.app).file_predictor
    if predictor is None:
        raise TypeError(f"{member.config.app} answers in a way of its own, but has no file_predictor")
    for line in predictor(photos, checkpoint=member.run, **options):
        if "error" in line:
            yield line
        else:
            answer = {key: value for key, value in line.items() if key != "path"}
            yield {"path": line["path"], "answers": {member.name: answer}}


def _face_lines(
    group: Sequence[HeadRun], paths: list[Path], *, top: int, workers: int | None, precision: str
) -> Iterator[dict[str, Any]]:
    """The lines of the runs that answer for faces: these are found once, and one pass serves all runs."""
    from apps.faces import NO_FACE
    from apps.faces.extraction.crops import faces_of
    from apps.faces.extraction.sources import Source

    apps, forward, heads = _loaded(group, precision)

    def answer(pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        outputs = forward(pixels)
        parts = [
            answers(apps[m.name], heads[m.name], outputs[m.name], m.config, sizes, top=top) for m in group
        ]
        return [
            {m.name: part.to_dict() for m, part in zip(group, face, strict=True)}
            for face in zip(*parts, strict=True)
        ]

    sources = [Source(str(path.absolute()), path) for path in paths]
    side = group[0].seen.resolution
    for path, problem, faces in faces_of(sources, answer, side=side, workers=workers):
        if problem not in ("", NO_FACE):
            yield {"path": path, "error": problem}
            continue
        yield {"path": path, "answers": {
            m.name: {"faces": [{"face": f["face"], "box": f["box"]} | f[m.name] for f in faces]}
            for m in group
        }}


def _loaded(
    group: Sequence[HeadRun], precision: str
) -> tuple[dict[str, AnyTask], Forward, dict[str, Any]]:
    """The applications, one pass for all heads, and the heads, by the members' names."""
    apps: dict[str, AnyTask] = {}
    heads: dict[str, Any] = {}
    for member in group:
        apps[member.name], model, _ = load_run(member.run)
        heads[member.name] = model.heads[member.config.app]
    return apps, one_pass(MultiHead(model.backbone, heads), choose_precision(precision)), heads


def _shared_lines(
    group: Sequence[HeadRun], paths: list[Path], *, top: int, workers: int | None, tta: str | None,
    precision: str,
) -> Iterator[dict[str, Any]]:
    """The lines of the runs that one pass serves."""
    apps, forward, heads = _loaded(group, precision)
    kinds = {item.name: tta_of(item.config, tta) for item in group}
    photos = ImageDataset([Photo(path, 0) for path in paths], ["any"])
    loader = answer_loader(photos, group[0].seen, workers=workers)
    for batch in loader.epoch(0):
        outputs = _outputs(forward, batch, kinds)
        lines = batch.errors(paths)
        lines |= {index: {"path": str(paths[index]), "answers": {}} for index in batch.indices}
        sizes = [image_size(paths[index]) for index in batch.indices]
        for member in group if batch.indices else ():
            parts = answers(
                apps[member.name], heads[member.name], outputs[member.name], member.config, sizes, top=top
            )
            for index, part in zip(batch.indices, parts, strict=True):
                lines[index]["answers"][member.name] = part.to_dict()
        yield from (lines[index] for index in sorted(lines))


@torch.inference_mode()
def _outputs(forward: Forward, batch: Batch, kinds: dict[str, str]) -> dict[str, Any]:
    """The heads' outputs: from one pass, and from passes over further views for the heads that want them."""
    if not batch.indices:
        return {}
    outputs = forward(batch.images) if "none" in kinds.values() else {}
    for name, kind in kinds.items():
        if kind != "none":
            outputs[name] = tta_logits(_only(forward, name), batch.images, kind)
    return outputs


def _only(forward: Forward, name: str) -> Callable[[Tensor], Any]:
    return lambda images: forward(images)[name]
