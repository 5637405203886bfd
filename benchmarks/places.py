"""CPU time of encoding positions as S2 cells beside s2sphere, s2cell and s2geometry, and of a partition."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from apps.places.cells import s2
from apps.places.cells.partition import Limits, build
from apps.places.cells.s2 import Floats

Pairs = list[tuple[float, float]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--points", type=int, default=1_000_000, help="to encode (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of ours and the others (default: 3)")
    parser.add_argument("--photos", type=int, default=5_000_000, help="to partition (default: 5000000)")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object to stdout."""
    partition = partition_time(*crowded_positions(options.photos))
    results = {"encode_cpu_s": encode_times(*even_positions(options.points), options.rounds), **partition}
    sys.stdout.write(json.dumps(results) + "\n")


def even_positions(count: int) -> tuple[Floats, Floats]:
    """Positions spread evenly over the sphere."""
    rng = np.random.default_rng(0)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)


def crowded_positions(count: int) -> tuple[Floats, Floats]:
    """Positions that crowd around 3,000 towns of very different size."""
    rng = np.random.default_rng(0)
    towns = np.degrees(np.arcsin(rng.uniform(-0.8, 0.95, 3000))), rng.uniform(-180, 180, 3000)
    town = (3000 * rng.random(count) ** 3).astype(int)
    lat, lon = (item[town] + rng.normal(0, 0.5, count) ** 3 for item in towns)
    return np.clip(lat, -90, 90), (lon + 180) % 360 - 180


def encode_times(lat: Floats, lon: Floats, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each library for all positions, round by round after each other.

    Raises:
        ValueError: a library gives other cells than ours.
    """
    import s2cell
    import s2geometry
    import s2sphere

    pairs = list(zip(lat.tolist(), lon.tolist(), strict=True))
    others: dict[str, Callable[[Pairs], list[int]]] = {
        "s2geometry": lambda some: [
            s2geometry.S2CellId(s2geometry.S2LatLng.FromDegrees(a, b)).id() for a, b in some],
        "s2cell": lambda some: [s2cell.lat_lon_to_cell_id(a, b) for a, b in some],
        "s2sphere": lambda some: [
            s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(a, b)).id() for a, b in some],
    }
    times: dict[str, list[float]] = {"ours": []}
    for _ in range(rounds):
        seconds, ours = _timed(lambda: s2.leaf_ids(lat, lon))
        times["ours"].append(seconds)
        for name, encode in others.items():
            seconds, theirs = _timed(encode, pairs)
            times.setdefault(name, []).append(seconds)
            if (np.array(theirs, np.uint64) != ours).any():
                raise ValueError(f"{name} gives other cells than ours")
    return {name: round(statistics.median(item), 4) for name, item in times.items()}


def partition_time(lat: Floats, lon: Floats) -> dict[str, Any]:
    """CPU seconds of a partition with t_max 10000 and t_min 50, its cells, and the process's peak memory."""
    seconds, (grid,) = _timed(lambda: build(lat, lon, Limits(10_000, 50)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"partition_cpu_s": round(seconds, 2), "cells": len(grid), "peak_gb": round(peak, 2)}


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = work(*arguments)
    return time.process_time() - start, result
