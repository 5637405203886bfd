"""A job: what is asked for to a folder of parts; killed and started again, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from queue import Queue
from threading import Thread
from typing import Any

from apps.engine.core.console import Console
from apps.engine.core.machine import usable_cores
from apps.engine.scale.answering import Answers, Line
from apps.engine.scale.parts import COUNTS, Part, PartsFolder
from apps.engine.scale.shards import Shard, make_shards
from apps.engine.scale.work import LOCAL, SHARD_IMAGES, Order, Result, ShardWorker
from apps.engine.scale.worker import shard_lines

VERSION = 1  # of what parts hold
ROUNDS = 3  # over shards whose store failed
REFUSED = 20  # images that are named in the answer; the parts name all


def run_job(places: Sequence[str], answers: Answers, order: Order, console: Console) -> dict[str, Any]:
    """Answer for all images of some places, a part a shard; parts that are there are kept.

    Args:
        places: as of :func:`apps.engine.scale.shards.make_shards`.
        answers: what answers.
        order: where to, and by what.
        console: where words and progress go.

    Returns:
        ``{"out", "images", "failed", "parts", "kept_parts", "seconds", "refused"}``; of answers with several
        rows an image also ``{"rows", "empty"}``: rows, and images without one.

    Raises:
        ImportError: Ray is asked for, and not installed.
        OSError: the folder cannot be written, or a store does not answer; what is done stays.
        ValueError: the folder holds another job, or there is no image.
    """
    start = time.perf_counter()
    shards = make_shards(places, order.shard_size)
    folder = PartsFolder(order.out)
    job = {"version": VERSION, "paths": list(places), "shard_size": order.shard_size, "model": answers.about}
    with folder.claimed(job):
        there = set(folder.names())
        parts, kept = write_parts(shards, answers, order, console)
    stale = sorted(there - parts.keys())
    folder.remove(stale)
    if stale:
        console.say(f"{order.out}: {len(stale)} parts of images that have changed or are gone were removed")
    bad = list(_refused(folder, [parts[name] for name in sorted(parts)]))
    counts = [asdict(part) for part in parts.values()]
    totals = {name: sum(count[name] for count in counts) for name in COUNTS}
    several = {name: totals[name] for name in ("rows", "empty") if totals["rows"] or totals["empty"]}
    return {
        "out": order.out, "images": totals["images"], "failed": totals["failed"], "parts": len(parts),
        "kept_parts": kept, "seconds": round(time.perf_counter() - start, 3), "refused": bad,
        **several,
    }


def write_parts(
    shards: Sequence[Shard], answers: Answers, order: Order, console: Console
) -> tuple[dict[str, Part], int]:
    """The parts of some shards, by name, and how many of them were there already.

    Raises:
        ImportError, OSError: as of :func:`run_job`.
    """
    folder, wanted = PartsFolder(order.out), {shard.part: shard for shard in shards}
    there = wanted.keys() & set(folder.names())
    parts = {name: part for name in there if (part := folder.part(name)) is not None}
    kept, todo = len(parts), [shard for name, shard in wanted.items() if name not in parts]
    lost: list[Result] = []
    with console.track("shards", len(shards)) as update:
        for round_ in range(ROUNDS if todo else 0):
            lost = []
            for result in _runner(order)(todo, answers, order):
                if result.part is None:
                    lost.append(result)
                    continue
                parts[result.part.name] = result.part
                update(len(parts), f"{sum(part.images for part in parts.values())} images")
            todo = [result.shard for result in lost]
            if not todo:
                break
            if round_ + 1 < ROUNDS:
                console.warn(f"{len(todo)} shards wait for their store ({lost[0].error}); once more")
    if lost:
        raise OSError(
            f"{len(lost)} of {len(shards)} parts are not written: {lost[0].error}; start the command again, "
            f"which keeps the {len(parts)} that are there"
        )
    return parts, kept


def stream(places: Sequence[str], answers: Answers, *, images: int = SHARD_IMAGES) -> Iterator[Line]:
    """The lines of all images of some places by this process, in their order, without a folder.

    Raises:
        FileNotFoundError, StoreError, ValueError: as of :func:`run_job`.
    """
    for shard in make_shards(places, images):
        for lines in shard_lines(answers, shard):
            yield from lines


def _runner(order: Order) -> Callable[[Sequence[Shard], Answers, Order], Iterator[Result]]:
    if order.runner == LOCAL:
        return run_here
    from apps.engine.scale.on_ray import run_on_ray

    return run_on_ray


def run_here(shards: Sequence[Shard], answers: Answers, order: Order) -> Iterator[Result]:
    """The shards by processes of this machine, as they are done; without a time limit by this one alone."""
    if not order.image_seconds:
        worker = ShardWorker(answers, order.out, 0, answers.columns)
        yield from map(worker, shards)
        return
    todo: Queue[Shard | None] = Queue()
    done: Queue[Result | BaseException] = Queue()
    count = min(order.workers or usable_cores(), len(shards))
    for shard in (*shards, *[None] * count):  # an end for each worker
        todo.put(shard)
    columns = answers.columns
    workers = [ShardWorker(answers, order.out, order.image_seconds, columns) for _ in range(count)]

    def work(worker: ShardWorker) -> None:
        try:
            for shard in iter(todo.get, None):
                done.put(worker(shard))
        except BaseException as err:
            done.put(err)

    for worker in workers:
        Thread(target=work, args=(worker,), daemon=True).start()
    try:
        for _ in shards:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for worker in workers:
            worker.close()


def _refused(folder: PartsFolder, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """The first images that could not be answered for, and why."""
    left = REFUSED
    for part in parts:
        if not part.failed or not left:
            continue
        rows = folder.table(part.name, ("path", "error")).to_pylist()
        bad = [{"path": row["path"], "reason": row["error"]} for row in rows if row["error"] is not None]
        yield from bad[:left]
        left -= len(bad[:left])
