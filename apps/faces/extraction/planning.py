"""What is to be made of which photos, and what of it is done already."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from apps.engine.core.device import AS_USUAL, Compute
from apps.faces.extraction.embedder import Align
from apps.faces.extraction.extractor import DetectorName, Which
from apps.faces.extraction.manifest import last_inputs, read_ledger
from apps.faces.extraction.resumable_job import POLL_SECONDS, Plan, ResumableJob
from apps.faces.extraction.sources import Source, Stamp
from apps.faces.extraction.table import About, ImageRecord, read_part
from datasets.file_kinds import ONE_A_SECOND, Sampling


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
        prune: take the rows of photos that are gone out of the table.
        compute: by what, and where, faces are found.
        sampling: which frames of videos.
    """

    out: Path
    which: Which = "all"
    align: Align = "five-point"
    name: str | None = None
    workers: int | None = None
    detector: DetectorName = "mtcnn"
    prune: bool = False
    compute: Compute = AS_USUAL
    sampling: Sampling = ONE_A_SECOND

    def threads(self) -> int:
        """Threads that read and detect."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return self.workers or max(1, (os.cpu_count() or 1) // here)


def digest_of(sources: Iterable[Source], about: About, order: Order) -> str:
    """Tells whether a plan is for the same photos, unchanged, and the same settings."""
    digest = hashlib.sha256(f"{about.to_json()} {order.which} {order.name} {order.detector}".encode())
    for source in sources:
        digest.update(f"{source.name}\0{source.stamp()}\n".encode())
    return digest.hexdigest()


def others_plan(workshop: ResumableJob, digest: str) -> Plan:
    """The plan that the first process makes, waited for."""
    while True:
        plan = workshop.read_plan()
        if plan is not None and plan.digest == digest:
            return plan
        if last_inputs(workshop.table) == digest:
            return Plan(digest, "", [], 0)
        time.sleep(POLL_SECONDS)


def make_plan(
    workshop: ResumableJob, sources: dict[str, Source], about: About, order: Order, digest: str
) -> Plan:
    """The plan of a run that was broken off, or a new one.

    Parts of another run are set aside, and merged when this one has been done: where it is refused, the table
    and they stay as they are.

    Raises:
        ValueError: they are of another model.
    """
    aside = workshop.aside()
    if workshop.read_plan() is None and aside and _digest_in(workshop, aside[-1]) == digest:
        workshop.take_back()
    left = workshop.read_plan()
    if left is not None and left.digest == digest:
        return left
    for folder in [workshop.folder, *workshop.aside()]:
        _refuse_other_parts(workshop.read_plan(folder), folder, about)
    if left is not None:
        workshop.set_aside()
    known = read_ledger(workshop.table)
    for folder in workshop.aside():
        records = (record for part in workshop.parts(folder) for record in read_part(part))
        known |= {record.path: record for record in records if not record.refused}
    touched: dict[str, Stamp] = {}
    pending = [
        name for name, source in sources.items() if not _is_known(source, known.get(name), order, touched)
    ]
    plan = Plan(digest, about.to_json(), pending, len(sources) - len(pending), touched)
    workshop.write_plan(plan)
    return plan


def _digest_in(workshop: ResumableJob, folder: Path) -> str:
    plan = workshop.read_plan(folder)
    return "" if plan is None else plan.digest


def _refuse_other_parts(plan: Plan | None, folder: Path, about: About) -> None:
    before = about if plan is None else About.from_json(plan.about)
    if before != about:
        raise ValueError(
            f"{folder} holds parts of a run by model {before.model.fingerprint} ({before.model.name}, "
            f"--align {before.align}) that was broken off; finish it with that model, or remove the folder"
        )


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
