"""``embed-faces`` and ``enroll``: many photos to a table of faces; broken off, it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from apps.engine.core.console import Console, quantity
from apps.engine.core.files import writable_file
from apps.faces.extraction.embedder import FaceModel, Vectors
from apps.faces.extraction.extractor import Extraction, FaceExtractor, in_order, make_detector
from apps.faces.extraction.manifest import problems_path
from apps.faces.extraction.planning import Order, digest_of, make_plan, others_plan
from apps.faces.extraction.resumable_job import CHUNK, Plan, Ranks, ResumableJob
from apps.faces.extraction.sources import Source, find_sources, with_frames
from apps.faces.extraction.table import About, ImageRecord, count_faces, face_rows, read_about, seen_rows
from apps.faces.extraction.upkeep import (
    counted,
    enrolled_names,
    finish_forgetting,
    gone_photos,
    keep_changed_names,
    remove_photos,
    without_forgotten,
)
from apps.faces.people.corrections import read_corrections
from datasets.outside import DiskError

FACES_AT_ONCE = 64  # crops in memory before they are embedded
REFUSED = 20  # photos named in the answer; all are in the side file


def embed_faces(
    paths: Sequence[str], order: Order, model: FaceModel, console: Console, *, stdin: TextIO | None = None
) -> dict[str, Any] | None:
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
        photos of the table that are no longer there, and their faces. None in all processes but the first.

    Raises:
        OSError: a path is missing, or the table cannot be written.
        ValueError: the table was made by another model, or there is no photo.
    """
    start, ranks = time.perf_counter(), Ranks.here()
    about = About(model.info, order.align)
    sources = {source.name: source for source in find_sources(paths, stdin or sys.stdin, order.sampling)}
    if not sources:
        raise ValueError(f"no photo in {', '.join(paths)}; give photos or folders that hold some")
    writable_file(order.out)
    refuse_other_model(order.out, about)
    digest = digest_of(sources.values(), about, order)
    workshop = ResumableJob(order.out)
    if ranks.rank:
        plan = others_plan(workshop, digest)
        _work(workshop, plan, sources, order, model, ranks, Console(quiet=True))
        return None
    with workshop.locked(), _kept(workshop, ranks, console):
        finish_forgetting(order.out)
        plan = make_plan(workshop, sources, about, order, digest)
        _work(workshop, plan, sources, order, model, ranks, console)
        if workshop.missing(plan):
            console.say(f"waiting for {len(workshop.missing(plan))} parts of other processes")
        workshop.await_parts(plan)
        names = enrolled_names(order.out)
        seen = workshop.assemble(about, plan, shared=ranks.world > 1)
        gone = gone_photos(order.out)
        if order.prune:
            remove_photos(order.out, gone)
        keep_changed_names(order.out, names)
    return _answer(seen, plan, order, start, console) | {"gone": counted(gone, order, console)}


@contextmanager
def _kept(workshop: ResumableJob, ranks: Ranks, console: Console) -> Iterator[None]:
    """Where the disk is full, say what stays for a rerun to go on from; if that is nothing, clear up."""
    try:
        yield
    except DiskError:
        if count := len(workshop.parts()):
            console.say(
                f"{quantity(count, 'part')} of at most {CHUNK} photos stay in {workshop.folder}; the same "
                "command, with room, goes on from there"
            )
        elif ranks.world == 1:
            workshop.clear()
            workshop.take_back()
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


def _work(
    workshop: ResumableJob,
    plan: Plan,
    sources: dict[str, Source],
    order: Order,
    model: FaceModel,
    ranks: Ranks,
    console: Console,
) -> None:
    """Do the chunks of this process that are not done yet."""
    chunks = plan.chunks()
    mine = [number for number in ranks.mine(len(chunks)) if not workshop.part(number).exists()]
    todo = [sources[name] for number in mine for name in chunks[number]]
    if not todo:
        return
    detector = make_detector(order.detector, order.align, console, order.compute)
    looker = FaceExtractor(model.info.resolution, order.which, order.align, detector)
    about, start, done = About(model.info, order.align), time.perf_counter(), 0
    moved = {} if order.name else {face.sha256: name for face, name in enrolled_names(order.out)}
    forgotten = read_corrections(order.out).forgotten
    with console.track("photos", len(todo)) as update:

        def on_photo() -> None:
            nonlocal done
            done += 1
            update(done, f"{done / (time.perf_counter() - start):.1f} photos/s")

        looked = in_order(looker, with_frames(todo), order.threads())
        for number in mine:
            some = (without_forgotten(look, forgotten) for look in islice(looked, len(chunks[number])))
            looks, vectors = _embed(some, model, on_photo)
            names = [moved.get(look.sha256, order.name) if look.crops else order.name for look in looks]
            rows = face_rows(looks, vectors, about, names)
            workshop.put(number, rows, seen_rows(looks, order.which, names))


def _embed(
    looked: Iterator[Extraction], model: FaceModel, on_photo: Callable[[], None]
) -> tuple[list[Extraction], Vectors]:
    """The vectors of a chunk's faces; crops are let go as soon as they are embedded."""
    looks: list[Extraction] = []
    waiting: list[Image.Image] = []
    vectors = [np.zeros((0, model.info.dim), dtype=np.float32)]

    def flush() -> None:
        vectors.append(model.vectors(waiting))
        waiting.clear()

    for item in looked:
        waiting += item.images
        looks.append(replace(item, images=[]))
        if len(waiting) >= FACES_AT_ONCE:
            flush()
        on_photo()
    flush()
    return looks, np.concatenate(vectors)


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
