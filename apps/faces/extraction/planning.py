"""What is to be made of which photos, and what of it is done already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from apps.engine.core.device import AS_USUAL, Compute
from apps.engine.scale import work
from apps.engine.scale.shards import FILES, Shard
from apps.faces.extraction.embedder import Align
from apps.faces.extraction.extractor import DetectorName, Which
from apps.faces.extraction.manifest import read_ledger
from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.sources import Source
from apps.faces.extraction.table import About, ImageRecord, read_about
from datasets.file_kinds import ONE_A_SECOND, Sampling

CHUNK = 32  # photos a part: what is lost at most when a process is killed
CHUNK_OF_THREAD = 8  # where that is more: the threads of a process wait for each other at the end of a part
JOB_DIGITS = 6


@dataclass(frozen=True)
class Order:
    """What to make.

    Args:
        out: the table.
        which: faces of a photo: all, the largest, or exactly one.
        align: by five landmarks, or none for ready crops.
        name: of the person whom all photos show; None leaves faces nameless.
        workers: threads that read and detect; None takes the cores.
        detector: what finds the faces.
        prune: take the rows of photos that are gone out of the table.
        compute: by what, and where, faces are found.
        sampling: which frames of videos.
        by: what makes the parts; None for threads of this process. Its folder and shards are of no account.
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
    by: work.Order | None = None

    @property
    def threads(self) -> int:
        """Of this process, that read and detect."""
        return 1 if self.by else self.workers or os.cpu_count() or 1

    @property
    def chunk(self) -> int:
        """Photos a part."""
        return max(CHUNK, CHUNK_OF_THREAD * self.threads)

    def work(self, folder: Path) -> work.Order:
        """How the parts are made in a folder beside the table."""
        by = self.by or work.Order("", image_seconds=0)
        return replace(by, out=str(folder.absolute()), shard_size=self.chunk)


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Args:
        shards: the photos to look at; parts of some may be there.
        skipped: how many photos are known already.
        touched: those of them that have a new stamp and the old content.
    """

    shards: list[Shard]
    skipped: int
    touched: list[ImageRecord]

    def parts(self) -> list[str]:
        """The names of its parts, in the order of the photos."""
        return [shard.part for shard in self.shards]


def make_plan(job: ResumableJob, sources: Mapping[str, Source], about: About, order: Order) -> Plan:
    """What is to be done, in the parts of the same run that was broken off where there are some.

    What parts of other runs hold is known; they are merged when this one has been done: where it is refused,
    the table and they stay as they are.

    Raises:
        ValueError: they are of another model.
    """
    digest = _digest(sources.values(), about, order)
    there = job.names()
    mine = {name for name in there if _mark(name).startswith(digest)}
    while True:  # until the parts that are gone on with are all of this plan
        others = [name for name in there if name not in mine]
        known = read_ledger(job.table) | {
            record.path: record for record in job.records(others) if not record.refused
        }
        begun = {record.path for record in job.records(mine)}
        touched: list[ImageRecord] = []
        pending = [
            name for name, source in sources.items()
            if name in begun or not _is_known(source, known.get(name), order, touched)
        ]
        first = max(map(_number, others), default=-1) + 1
        chunks = [pending[at : at + order.chunk] for at in range(0, len(pending), order.chunk)]
        shards = [_shard(number, digest, chunk) for number, chunk in enumerate(chunks, first)]
        plan = Plan(shards, len(sources) - len(pending), touched)
        if mine <= set(plan.parts()):
            break
        mine &= set(plan.parts())
    for name in others:
        _refuse_other_part(job.folder / name, about)
    return plan


def _shard(number: int, digest: str, names: list[str]) -> Shard:
    photos = hashlib.sha256("\0".join(names).encode()).hexdigest()
    return Shard(number, FILES, tuple(names), (0, 0), digest + photos[:JOB_DIGITS])


def _number(part: str) -> int:
    return int(part.split("-")[1])


def _mark(part: str) -> str:
    return part.split("-")[2]


def _digest(sources: Iterable[Source], about: About, order: Order) -> str:
    """Tells whether parts are of the same photos, unchanged, and the same settings."""
    digest = hashlib.sha256(f"{about.to_json()} {order.which} {order.name} {order.detector}".encode())
    for source in sources:
        digest.update(f"{source.name}\0{source.stamp()}\n".encode())
    return digest.hexdigest()[:JOB_DIGITS]


def _refuse_other_part(part: Path, about: About) -> None:
    before = read_about(part)
    if before != about:
        raise ValueError(
            f"{part.parent} holds parts of a run by model {before.model.fingerprint} ({before.model.name}, "
            f"--align {before.align}) that was broken off; finish it with that model, or remove the folder"
        )


def _is_known(
    source: Source, seen: ImageRecord | None, order: Order, touched: list[ImageRecord]
) -> bool:
    """Whether the table holds this photo as it is now; notes a new stamp on old content."""
    if seen is None:
        return False
    asked_same = seen.name == order.name and seen.which in (order.which, None)
    # embed-faces leaves enrolled people as they are; a photo that once was refused is nobody's
    kept = order.name is None and seen.name is not None and not seen.problem
    if not (asked_same or kept):
        return False
    size, modified, changed = source.stamp()
    if (size, modified, changed) == (seen.bytes, seen.modified_ns, seen.changed_ns):
        return True
    same = source.sha256() == seen.sha256
    if same:
        touched.append(replace(seen, bytes=size, modified_ns=modified, changed_ns=changed))
    return same
