"""How large a shard should be: 1,000 workers with failures and stragglers, simulated event by event."""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000)


@dataclass(frozen=True)
class Cluster:
    """What is simulated; times in seconds.

    Args:
        images: in all.
        workers: of one core each.
        shard: images a shard.
        image_mean: that an image takes.
        image_deviation: its standard deviation.
        shard_fixed: of a worker a shard: asking for it, opening files, writing the part.
        driver_fixed: of the driver a shard; it serves one at a time.
        start: of a worker: process, model.
        hours_to_failure: mean of a worker's life; a shard at hand is lost with it.
        speeds: standard deviation of the logarithm of the workers' speeds.
        slow: share of the workers that are stragglers.
        slow_times: as long as others these take.
        hangs: share of images that hang; each costs ``hang_cost``.
        hang_cost: two limits and two starts.
        seed: of all that is drawn.
    """

    images: int = 100_000_000
    workers: int = 1000
    shard: int = 1000
    image_mean: float = 0.0171
    image_deviation: float = 0.0024
    shard_fixed: float = 0.1
    driver_fixed: float = 0.0091
    start: float = 10.0
    hours_to_failure: float = 24.0
    speeds: float = 0.1
    slow: float = 0.02
    slow_times: float = 4.0
    hangs: float = 1e-6
    hang_cost: float = 62.0
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        hours: from the first shard to the last.
        efficiency: work of the images over the time of all workers, stragglers counted as others, 0 to 1.
        lost: share of the workers' time that was lost with failures.
        tail: share of the time in which some worker had nothing left to do.
        failures: of workers.
    """

    hours: float
    efficiency: float
    lost: float
    tail: float
    failures: int


def simulate(cluster: Cluster) -> Outcome:
    """Workers take the next shard when they are free; a worker that fails gives its shard back."""
    rng = np.random.default_rng(cluster.seed)
    pace = np.exp(rng.normal(0, cluster.speeds, cluster.workers))
    pace[rng.random(cluster.workers) < cluster.slow] *= cluster.slow_times
    life = cluster.hours_to_failure * 3600
    dies = rng.exponential(life, cluster.workers)
    events = [(cluster.start, worker, 0) for worker in range(cluster.workers)]  # with images that come back
    heapq.heapify(events)
    whole, rest = divmod(cluster.images, cluster.shard)
    todo, idle = [cluster.shard] * whole + [rest] * bool(rest), list[int]()
    lost, failures, driver, end, first_idle = 0.0, 0, 0.0, 0.0, 0.0
    while events:
        now, worker, back = heapq.heappop(events)
        if back:  # it has failed: another one takes its shard, or it does when it is there again
            todo.append(back)
            heapq.heappush(events, (now + cluster.start, worker, 0))
            if idle:
                heapq.heappush(events, (now, idle.pop(), 0))
            continue
        if not todo:
            first_idle = first_idle or now
            idle.append(worker)
            continue
        driver = max(driver, now) + cluster.driver_fixed  # shards are given out one after another
        images = todo.pop()
        work = max(rng.normal(images * cluster.image_mean, cluster.image_deviation * images**0.5), 0.0)
        work += rng.poisson(images * cluster.hangs) * cluster.hang_cost
        done = driver + cluster.shard_fixed + work * float(pace[worker])
        if done > dies[worker]:
            failed = max(float(dies[worker]), driver)
            lost, failures = lost + failed - now + cluster.start, failures + 1
            dies[worker] = failed + cluster.start + rng.exponential(life)
            heapq.heappush(events, (failed, worker, images))
        else:
            end = max(end, done)
            heapq.heappush(events, (done, worker, 0))
    total = end * cluster.workers
    ideal = cluster.images * cluster.image_mean
    return Outcome(
        round(end / 3600, 3), round(ideal / total, 4), round(lost / total, 5),
        round((end - min(first_idle, end)) / end, 4), failures,
    )


def table(cluster: Cluster, sizes: Sequence[int]) -> list[dict[str, float]]:
    """The outcome for each size of a shard."""
    return [
        {"shard": size, **asdict(simulate(replace(cluster, shard=size)))} for size in sizes
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the simulation takes; the defaults are docs/scaling.md's."""
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="images a shard")
    for name, value in asdict(Cluster()).items():
        if name != "shard":
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)


def run(options: argparse.Namespace) -> None:
    """Print a JSON line a size."""
    names = [name for name in asdict(Cluster()) if name != "shard"]
    for row in table(Cluster(**{name: getattr(options, name) for name in names}), options.sizes):
        sys.stdout.write(f"{json.dumps(row)}\n")
