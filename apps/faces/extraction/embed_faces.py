"""``embed-faces`` and ``enroll``: many photos to a table of faces; broken off, it goes on."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from apps.engine.core.console import Console
from apps.engine.core.files import writable_folder
from apps.faces.extraction.embedder import Align, FaceModel, Vectors
from apps.faces.extraction.extractor import (
    DetectorName,
    Extraction,
    FaceExtractor,
    Which,
    in_order,
    make_detector,
)
from apps.faces.extraction.manifest import last_inputs, problems_path, read_ledger
from apps.faces.extraction.resumable_job import POLL_SECONDS, Plan, Ranks, ResumableJob
from apps.faces.extraction.sources import Source, Stamp, find_sources
from apps.faces.extraction.table import About, ImageRecord, face_rows, read_about, seen_rows

FACES_AT_ONCE = 64  # crops in memory before they are embedded
REFUSED = 20  # photos named in the answer; all are in the side file


@dataclass(frozen=True)
class Order:
    """What to make.

    Args:
        out: the table.
        which: faces of a photo: all, the largest, or exactly one.
        align: by five landmarks, or none for ready crops.
        name: of the person whom all photos show; None leaves faces nameless.
        workers: threads that read and detect; None takes the cores that fall to this process.
        detector: what finds the faces.
    """

    out: Path
    which: Which = "all"
    align: Align = "five-point"
    name: str | None = None
    workers: int | None = None
    detector: DetectorName = "mtcnn"

    def threads(self) -> int:
        """Threads that read and detect."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return self.workers or max(1, (os.cpu_count() or 1) // here)


def embed_faces(
    paths: Sequence[str], order: Order, model: FaceModel, console: Console, *, stdin: TextIO | None = None
) -> dict[str, Any] | None:
    """Make or extend a table of faces.

    Photos that the table knows by the same model are skipped, changed ones are done again, the rows of
    photos that are not asked for stay. Killed and started again, a run goes on where it was.

    Args:
        paths: as for :func:`apps.faces.extraction.sources.find_sources`.
        order: what to make.
        model: to embed with.
        console: where words and progress go.
        stdin: where a path ``-`` is read from.

    Returns:
        ``{"faces", "photos", "skipped", "without_face", "unreadable", "refused", "seconds", "out"}``; None in
        all processes but the first.

    Raises:
        OSError: a path is missing, or the table cannot be written.
        ValueError: the table was made by another model, or there is no photo.
    """
    start, ranks = time.perf_counter(), Ranks.here()
    about = About(model.info, order.align)
    sources = {source.name: source for source in find_sources(paths, stdin or sys.stdin)}
    if not sources:
        raise ValueError(f"no photo in {', '.join(paths)}; give photos or folders that hold some")
    writable_folder(order.out.parent)
    refuse_other_model(order.out, about)
    digest = _digest(sources.values(), about, order)
    workshop = ResumableJob(order.out)
    if ranks.rank:
        plan = _others_plan(workshop, digest)
        _work(workshop, plan, sources, order, model, ranks, Console(quiet=True))
        return None
    with workshop.locked():
        plan = _plan(workshop, sources, about, order, digest)
        _work(workshop, plan, sources, order, model, ranks, console)
        if workshop.missing(plan):
            console.say(f"waiting for {len(workshop.missing(plan))} parts of other processes")
        workshop.await_parts(plan)
        seen = workshop.assemble(about, plan, shared=ranks.world > 1)
    return _answer(seen, plan, order.out, start, console)


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


def _digest(sources: Sequence[Source] | Any, about: About, order: Order) -> str:
    """Tells whether a plan is for the same photos, unchanged, and the same settings."""
    digest = hashlib.sha256(f"{about.to_json()} {order.which} {order.name} {order.detector}".encode())
    for source in sources:
        digest.update(f"{source.name}\0{source.stamp()}\n".encode())
    return digest.hexdigest()


def _others_plan(workshop: ResumableJob, digest: str) -> Plan:
    """The plan that the first process makes, waited for."""
    while True:
        plan = workshop.read_plan()
        if plan is not None and plan.digest == digest:
            return plan
        if last_inputs(workshop.table) == digest:
            return Plan(digest, "", [], 0)
        time.sleep(POLL_SECONDS)


def _plan(
    workshop: ResumableJob, sources: dict[str, Source], about: About, order: Order, digest: str
) -> Plan:
    """The plan of a run that was broken off, or a new one; parts of another run are merged first."""
    left = workshop.read_plan()
    if left is not None and left.digest == digest:
        return left
    if left is not None:
        before = About.from_json(left.about)
        if before != about:
            raise ValueError(
                f"{workshop.folder} holds parts of a run by model {before.model.fingerprint} "
                f"({before.model.name}, --align {before.align}) that was broken off; finish it with that "
                "model, or remove the folder"
            )
        workshop.assemble(about, replace(left, digest=""))
        workshop.folder.mkdir(exist_ok=True)
    known = read_ledger(workshop.table)
    touched: dict[str, Stamp] = {}
    pending = [
        name for name, source in sources.items() if not _is_known(source, known.get(name), order, touched)
    ]
    plan = Plan(digest, about.to_json(), pending, len(sources) - len(pending), touched)
    workshop.write_plan(plan)
    return plan


def _is_known(source: Source, seen: ImageRecord | None, order: Order, touched: dict[str, Stamp]) -> bool:
    """Whether the table holds this photo as it is now; notes a new stamp on old content."""
    if seen is None:
        return False
    asked_same = seen.name == order.name and seen.which in (order.which, None)
    # embed-faces leaves enrolled people as they are; a photo that once was refused is nobody's
    kept = order.name is None and seen.name is not None and not seen.problem
    if not (asked_same or kept):
        return False
    stamp = source.stamp()
    if stamp == (seen.bytes, seen.modified_ns, seen.changed_ns):
        return True
    same = source.sha256() == seen.sha256
    if same:
        touched[source.name] = stamp
    return same


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
    detector = make_detector(order.detector, order.align, console)
    looker = FaceExtractor(model.info.resolution, order.which, order.align, detector)
    about, start, done = About(model.info, order.align), time.perf_counter(), 0
    with console.track("photos", len(todo)) as update:

        def on_photo() -> None:
            nonlocal done
            done += 1
            update(done, f"{done / (time.perf_counter() - start):.1f} photos/s")

        looked = in_order(looker, todo, order.threads())
        for number in mine:
            looks, vectors = _embed(islice(looked, len(chunks[number])), model, on_photo)
            rows = face_rows(looks, vectors, about, order.name)
            workshop.put(number, rows, seen_rows(looks, order.which, order.name))


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


def _answer(seen: list[ImageRecord], plan: Plan, out: Path, start: float, console: Console) -> dict[str, Any]:
    seconds = time.perf_counter() - start
    bad = [record for record in seen if record.problem]
    if bad:
        untouched = all(record.refused for record in seen)
        why = f"{bad[0].path}: {bad[0].problem}" + (", ..." if len(bad) > 1 else "")
        where = f"{why}; nothing was written to {out}" if untouched else f"{problems_path(out)} says why"
        console.warn(f"{len(bad)} of {len(seen)} photos gave no face; {where}")
    if seen:
        console.say(f"{len(seen)} photos in {seconds:.1f} s, {len(seen) / seconds:.1f} photos/s")
    unreadable = sum(not record.readable for record in seen)
    return {
        "faces": sum(record.faces for record in seen),
        "photos": len(seen),
        "skipped": plan.skipped,
        "without_face": len(bad) - unreadable,
        "unreadable": unreadable,
        "seconds": round(seconds, 3),
        "refused": [{"path": bad_image.path, "reason": bad_image.problem} for bad_image in bad[:REFUSED]],
        "out": str(out),
    }
