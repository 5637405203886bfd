"""The simulation of a cluster: closed forms, the same from a seed, and what failures cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.shards import Cluster, simulate

CALM = Cluster(
    images=100_000, workers=10, shard=1000, image_mean=0.01, image_deviation=0, shard_fixed=0.5,
    driver_fixed=0, start=0, hours_to_failure=1e9, speeds=0, slow=0, hangs=0,
)


def test_without_trouble_the_time_is_that_of_the_work() -> None:
    outcome = simulate(CALM)
    assert outcome.hours * 3600 == pytest.approx(10 * (0.5 + 1000 * 0.01), abs=2)
    assert outcome.efficiency == pytest.approx(10 / 10.5, abs=1e-3)
    assert (outcome.failures, outcome.lost, outcome.tail) == (0, 0, 0)


def test_a_driver_that_serves_one_shard_at_a_time_is_the_limit_of_small_ones() -> None:
    slow = simulate(replace(CALM, shard=10, shard_fixed=0, driver_fixed=0.1))
    assert slow.hours * 3600 == pytest.approx(100_000 / 10 * 0.1, rel=0.01)


def test_failures_lose_more_of_large_shards_and_no_image() -> None:
    failing = replace(CALM, hours_to_failure=0.02, start=1.0)
    small, large = simulate(failing), simulate(replace(failing, shard=5000))
    assert small == simulate(failing)
    assert 0 < small.lost < large.lost
    assert small.failures > 0
    assert large.hours > simulate(replace(CALM, shard=5000)).hours


def test_a_straggler_has_a_long_tail_with_large_shards() -> None:
    uneven = replace(CALM, slow=0.5, slow_times=5.0, seed=3)
    assert simulate(replace(uneven, shard=5000)).tail > simulate(replace(uneven, shard=100)).tail
