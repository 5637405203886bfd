"""Clusters: people apart, chains parted, one person found, sizes and cohesion right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faces_support import unit_vectors, write_table

from apps.faces.people import cluster as module
from apps.faces.people.cluster import (
    by_size,
    cluster_gallery,
    cluster_vectors,
    cohesion,
    join_alike,
    part_chains,
)
from apps.faces.people.gallery import Gallery


def people(
    counts: list[int], *, spread: float = 0.35, dim: int = 64, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around one direction a person."""
    centres = unit_vectors(len(counts), dim, seed=seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    found = centres[labels] + spread * unit_vectors(len(labels), dim, seed=seed + 1)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), labels


def chain(steps: int, angle: float = 0.35) -> np.ndarray:
    """Each vector is near the next, the ends point away from each other."""
    angles = np.arange(steps) * angle
    return np.column_stack([np.cos(angles), np.sin(angles), np.zeros(steps)]).astype(np.float32)


def test_people_are_told_apart_and_strangers_stay_alone() -> None:
    vectors, labels = people([9, 5, 3, 1, 1])
    found = cluster_vectors(vectors, 0.6)
    assert [set(found[labels == person]) for person in range(5)] == [{0}, {1}, {2}, {-1}, {-1}]


@pytest.mark.parametrize("counts", [[12], [12, 1], [2], [30, 1, 1]])
def test_photos_of_one_person_are_one_cluster(counts: list[int]) -> None:
    """HDBSCAN alone never takes all points for a cluster."""
    vectors, labels = people(counts)
    found = cluster_vectors(vectors, 0.6)
    assert set(found[labels == 0]) == {0}
    assert set(found[labels > 0]) <= {-1}


def test_a_chain_of_look_alikes_does_not_merge_its_ends() -> None:
    vectors = chain(9)
    neighbours = (vectors[:-1] * vectors[1:]).sum(1)
    assert neighbours.min() > 0.9
    parted = part_chains(vectors, np.zeros(9, dtype=np.int64), 0.6)
    assert parted[0] != parted[-1]
    for label in set(parted) - {-1}:
        assert cohesion(vectors[parted == label]) >= 0.6
    found = cluster_vectors(vectors, 0.6)
    assert found[0] != found[-1] or found[0] == -1


def test_joining_weighs_by_the_number_of_faces() -> None:
    """Two groups 0.9 alike join; the mean over all pairs of the third with both is 0.4: it stays out."""
    a, b = np.array([1.0, 0, 0]), np.array([0.9, np.sqrt(1 - 0.81), 0])
    c = np.array([0.4, 0.0, np.sqrt(1 - 0.16)])
    vectors = np.stack([a, a, b, c]).astype(np.float32)
    joined = join_alike(vectors, np.array([0, 0, -1, -1]), 0.5)
    assert joined[0] == joined[1] == joined[2] != joined[3]


def test_joining_equals_average_linkage_done_naively() -> None:
    vectors, _ = people([6, 4, 3, 2, 1, 1], spread=0.9, seed=5)
    groups = [[i] for i in range(len(vectors))]
    while True:
        best = max(
            (
                (float(np.mean(vectors[a] @ vectors[b].T)), i, j)
                for i, a in enumerate(groups)
                for j, b in enumerate(groups)
                if i < j
            ),
            default=(-1, 0, 0),
        )
        if best[0] < 0.5:
            break
        groups[best[1]] += groups.pop(best[2])
    found = join_alike(vectors, np.full(len(vectors), -1), 0.5)
    assert {frozenset(group) for group in groups} == {
        frozenset(np.flatnonzero(found == label).tolist()) for label in set(found)
    }


def test_clusters_are_numbered_by_size_and_small_ones_can_be_left_out() -> None:
    np.testing.assert_array_equal(by_size(np.array([7, 7, 2, 2, 2, -1, 5])), [1, 1, 0, 0, 0, -1, 2])
    vectors, labels = people([5, 2])
    found = cluster_vectors(vectors, 0.6, min_size=3)
    assert set(found[labels == 1]) == {-1}


def test_cohesion_is_the_mean_over_pairs_not_over_all_products() -> None:
    vectors, _ = people([4])
    pairs = [vectors[i] @ vectors[j] for i in range(4) for j in range(i)]
    assert cohesion(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert cohesion(vectors[:1]) == 1.0


def test_a_gallery_too_large_for_one_go_is_clustered_in_parts_with_the_same_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, labels = people([8, 7, 6, 5, 4, 3, 2, 1])
    gallery = Gallery.open(write_table(tmp_path / "f.parquet", vectors))
    whole = cluster_gallery(gallery, 0.6)
    monkeypatch.setattr(module, "WHOLE", 12)
    np.testing.assert_array_equal(cluster_gallery(gallery, 0.6), whole)
    assert [len(set(whole[labels == person])) for person in range(8)] == [1] * 8


def test_thousands_of_copies_are_cut_into_parts_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE", 20)
    vectors = np.repeat(unit_vectors(1, 16), 70, axis=0)
    found = cluster_gallery(Gallery.open(write_table(tmp_path / "f.parquet", vectors)), 0.6)
    assert (found >= 0).all()


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_and_one_face_give_no_cluster(count: int) -> None:
    assert cluster_vectors(unit_vectors(count, 16), 0.5).tolist() == [-1] * count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "a cosine, -1 to 1, got 1.5"),
        ({"threshold": 0.5, "min_size": 1}, "2 faces or more, got 1"),
    ],
)
def test_limits_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_vectors(unit_vectors(3, 16), **options)  # type: ignore[arg-type]
