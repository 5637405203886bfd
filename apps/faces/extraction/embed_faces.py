"""``embed-faces`` and ``enroll``: many photos to a table of faces; broken off, it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from apps.engine.core.console import Console, quantity
from apps.engine.core.files import writable_file
from apps.engine.scale import work
from apps.engine.scale.job import run_job, write_parts
from apps.engine.scale.stores import is_url
from apps.faces.extraction.answers import FaceAnswers
from apps.faces.extraction.embedder import FaceModel
from apps.faces.extraction.manifest import problems_path
from apps.faces.extraction.planning import Order, Plan, make_plan
from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.sources import Source, find_sources
from apps.faces.extraction.table import About, ImageRecord, count_faces, read_about
from apps.faces.extraction.upkeep import (
    counted,
    enrolled_names,
    finish_forgetting,
    forgotten_boxes,
    gone_photos,
    keep_changed_names,
    remove_photos,
)
from apps.faces.people.corrections import read_corrections
from datasets.outside import DiskError

REFUSED = 20  # photos named in the answer; all are in the side file


def embed_faces(
    paths: Sequence[str], order: Order, model: FaceModel, console: Console, *, stdin: TextIO | None = None
) -> dict[str, Any]:
    """Make or extend a table of faces.

    Photos that the table knows by the same model are skipped, changed ones are done again, the rows of
    photos that are not asked for stay. A photo that was moved keeps the name of who was enrolled from it.
    Killed and started again, a run goes on where it was.

    Args:
        paths: as for :func:`apps.faces.extraction.sources.find_sources`.
        order: what to make.
        model: to embed with.
        console: where words and progress go.
        stdin: where a path ``-`` is read from.

    Returns:
        ``{"faces", "new_faces", "photos", "skipped", "without_face", "unreadable", "gone", "refused",
        "seconds", "out"}``: faces in the table now, and those of the photos that were looked at this time;
        photos of the table that are no longer there, and their faces.

    Raises:
        OSError: a path is missing, or the table cannot be written.
        ValueError: the table was made by another model, or there is no photo.
    """
    start = time.perf_counter()
    about = About(model.info, order.align)
    sources = {source.name: source for source in find_sources(paths, stdin or sys.stdin, order.sampling)}
    if not sources:
        raise ValueError(f"no photo in {', '.join(paths)}; give photos or folders that hold some")
    writable_file(order.out)
    refuse_other_model(order.out, about)
    job = ResumableJob(order.out)
    with job.locked(), _kept(job, order, console):
        finish_forgetting(order.out)
        plan = make_plan(job, sources, about, order)
        names = enrolled_names(order.out)
        if plan.shards:
            moved = {} if order.name else {face.sha256: name for face, name in names}
            answers = replace(
                _answers(order, model), name=order.name, moved=moved,
                forgotten=forgotten_boxes(read_corrections(order.out)),
            )
            write_parts(plan.shards, answers, order.work(job.folder), console)
        seen = [_complete(record, sources, order) for record in job.records(plan.parts())]
        job.assemble(about, plan.parts(), seen, plan.touched)
        gone = gone_photos(order.out)
        if order.prune:
            remove_photos(order.out, gone)
        keep_changed_names(order.out, names)
    return _answer(seen, plan, order, start, console) | {"gone": counted(gone, order, console)}


def embed_into_parts(
    paths: Sequence[str], by: work.Order, order: Order, model: FaceModel, console: Console
) -> dict[str, Any]:
    """Make a folder of parts, a row a face, as :func:`apps.engine.scale.job.run_job` makes them.

    Args:
        paths: places as of :func:`apps.engine.scale.shards.make_shards`; rows have absolute paths.
        by: the folder, and what works on it.
        order: which faces, found and cut out by what; its table, name and sampling have no part in it.
        model: to embed with.
        console: where words and progress go.

    Returns:
        ``{"out", "faces", "images", "without_face", "failed", "parts", "kept_parts", "seconds", "refused"}``.

    Raises:
        ImportError, OSError, ValueError: as of ``run_job``.
    """
    answers = _answers(order, model)
    places = [path if is_url(path) else str(Path(path).absolute()) for path in (by.out, *paths)]
    done = run_job(places[1:], answers, replace(by, out=places[0]), console)
    counts = {name: done.pop(key, 0) for name, key in (("faces", "rows"), ("without_face", "empty"))}
    return {**done, "out": by.out, **counts}


def _answers(order: Order, model: FaceModel) -> FaceAnswers:
    """What finds and embeds, loaded here: what it lacks is said before any work, and fetched once."""
    answers = FaceAnswers(model.info, order.align, order.which, order.detector, compute=order.compute)
    if order.by is None:
        answers = replace(answers, threads=order.threads, batch=order.chunk)
    answers.load(model)
    return answers


def _complete(record: ImageRecord, sources: dict[str, Source], order: Order) -> ImageRecord:
    """With the stamp that a photo has now, where no process lived long enough to read it."""
    if record.which is not None:
        return record
    size, modified, changed = sources[record.path].stamp()
    return replace(record, bytes=size, modified_ns=modified, changed_ns=changed, which=order.which)


@contextmanager
def _kept(job: ResumableJob, order: Order, console: Console) -> Iterator[None]:
    """Where the disk is full, say what stays for a rerun to go on from; if that is nothing, clear up."""
    try:
        yield
    except DiskError:
        if count := len(job.names()):
            console.say(
                f"{quantity(count, 'part')} of at most {order.chunk} photos stay in {job.folder}; the same "
                "command, with room, goes on from there"
            )
        else:
            job.clear()
        raise


def refuse_other_model(table: Path, about: About) -> None:
    """Hold a model against the one that a table was made by, if there is a table.

    Raises:
        ValueError: it is another, or faces were cut out in another way; the message names both.
    """
    if not table.exists():
        return
    there = read_about(table)
    if there.model.fingerprint != about.model.fingerprint:
        raise ValueError(
            f"{table} was made by model {there.model.fingerprint} ({there.model.name}), not by "
            f"{about.model.fingerprint} ({about.model.name}): their vectors cannot be compared; give the "
            f"weights {there.model.weights or there.model.checkpoint}, or another table"
        )
    if there.align != about.align:
        raise ValueError(
            f"{table} was made with --align {there.align}, not {about.align}; give the same, or another table"
        )


def _answer(
    seen: list[ImageRecord], plan: Plan, order: Order, start: float, console: Console
) -> dict[str, Any]:
    seconds = time.perf_counter() - start
    bad = [record for record in seen if record.problem]
    if bad:
        untouched = all(record.refused for record in seen)
        why = f"{bad[0].path}: {bad[0].problem}" + (", ..." if len(bad) > 1 else "")
        written = f"{problems_path(order.out)} says why"
        where = f"{why}; nothing was written to {order.out}" if untouched else written
        console.warn(f"{len(bad)} of {quantity(len(seen), 'photo')} gave no face; {where}")
    if seen:
        console.say(f"{quantity(len(seen), 'photo')} in {seconds:.1f} s, {len(seen) / seconds:.1f} photos/s")
    unreadable = sum(not record.readable for record in seen)
    return {
        "faces": count_faces(order.out),
        "new_faces": sum(record.faces for record in seen),
        "photos": len(seen),
        "skipped": plan.skipped,
        "without_face": len(bad) - unreadable,
        "unreadable": unreadable,
        "seconds": round(seconds, 3),
        "refused": [{"path": bad_image.path, "reason": bad_image.problem} for bad_image in bad[:REFUSED]],
        "out": str(order.out),
    }
