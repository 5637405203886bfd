"""Clusters: people apart, chains parted, one person found, sizes and cohesion right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faces_support import unit_vectors, write_table
from PIL import Image
from support import Cli

from apps.faces.people import cluster as module
from apps.faces.people.agglomerate import Bonds, Crowd, Groups, Limits
from apps.faces.people.cluster import by_size, cluster_gallery, cluster_vectors, cohesion
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
    found = cluster_vectors(vectors, 0.6).labels
    assert [set(found[labels == person]) for person in range(5)] == [{0}, {1}, {2}, {-1}, {-1}]


@pytest.mark.parametrize("counts", [[12], [12, 1], [2], [30, 1, 1]])
def test_photos_of_one_person_are_one_cluster(counts: list[int]) -> None:
    """HDBSCAN alone never takes all points for a cluster."""
    vectors, labels = people(counts)
    found = cluster_vectors(vectors, 0.6).labels
    assert set(found[labels == 0]) == {0}
    assert set(found[labels > 0]) <= {-1}


def test_a_chain_of_look_alikes_does_not_merge_its_ends() -> None:
    vectors = chain(9)
    neighbours = (vectors[:-1] * vectors[1:]).sum(1)
    assert neighbours.min() > 0.9
    clusters = cluster_vectors(vectors, 0.6).labels
    assert clusters[0] != clusters[-1]
    for label in set(clusters) - {-1}:
        assert cohesion(vectors[clusters == label]) >= 0.6


def groups_of(vectors: np.ndarray, start: list[int] | None = None) -> Groups:
    """Groups of which nothing in common is taken away."""
    begin = np.arange(len(vectors)) if start is None else np.array(start)
    return Groups(vectors, begin, Crowd(np.zeros(vectors.shape[1], np.float32), 0))


def test_joining_weighs_by_the_number_of_faces() -> None:
    """Two groups 0.9 alike join; the mean over all pairs of the third with both is 0.4: it stays out."""
    a, b = np.array([1.0, 0, 0]), np.array([0.9, np.sqrt(1 - 0.81), 0])
    c = np.array([0.4, 0.0, np.sqrt(1 - 0.16)])
    groups = groups_of(np.stack([a, a, b, c]).astype(np.float32), [0, 0, 1, 2])
    groups.join(Limits(0.5, 0.5, 0.0))
    assert groups.into[0] == groups.into[1] != groups.into[2]


@pytest.mark.parametrize("limits", [Limits(0.5, 0.5, 0.1), Limits(0.7, 0.4, 0.1)])
def test_joining_equals_average_linkage_done_naively(limits: Limits) -> None:
    """Also with limits that follow the sizes; pairs that miss theirs by little are doubtful."""
    vectors, _ = people([6, 4, 3, 2, 1, 1], spread=0.9, seed=5)
    parts = [[i] for i in range(len(vectors))]

    def over(a: list[int], b: list[int]) -> float:
        needed = limits.group + (limits.pair - limits.group) / np.sqrt(len(a) * len(b))
        return float(np.mean(vectors[a] @ vectors[b].T)) - needed

    def pairs() -> list[tuple[float, int, int]]:
        return [(over(a, b), i, j) for i, a in enumerate(parts) for j, b in enumerate(parts) if i < j]

    while pairs() and (best := max(pairs()))[0] >= 0:
        parts[best[1]] += parts.pop(best[2])
    groups = groups_of(vectors)
    groups.join(limits)
    assert {frozenset(part) for part in parts} == {
        frozenset(np.flatnonzero(groups.into == label).tolist()) for label in set(groups.into)
    }
    assert len(groups.doubts(limits)) == sum(value >= -limits.doubt for value, _, _ in pairs())


def test_what_is_kept_apart_stays_apart_whatever_it_is_joined_with() -> None:
    vectors, _ = people([6])
    groups = groups_of(vectors)
    groups.keep_apart([0, 5])
    groups.join(Limits(0.5, 0.5, 0.0))
    assert groups.into[0] != groups.into[5]
    assert len(set(groups.into)) == 2


def test_the_limit_of_two_faces_rises_with_the_pairs_compared_and_that_of_groups_does_not() -> None:
    few, many = Limits.of(0.6, 10), Limits.of(0.6, 10_000)
    assert 0.6 < few.pair < many.pair < 1
    assert few.group == many.group < 0.6
    assert few.between(1, np.ones(1, np.float32))[0] == pytest.approx(few.pair, abs=1e-6)


def copies_of(vectors: np.ndarray, times: int, *, noise: float = 0.02) -> np.ndarray:
    """The same pictures again, nearly."""
    more = np.repeat(vectors, times, axis=0)
    more = more + noise * unit_vectors(*more.shape, seed=9)
    return (more / np.linalg.norm(more, axis=1, keepdims=True)).astype(np.float32)


def test_copies_share_a_label_and_change_no_cluster() -> None:
    """A backup of a folder makes no people of those who are there once."""
    vectors, labels = people([5, 3, 1, 1], spread=0.6)
    plain = cluster_vectors(vectors, 0.5).labels
    assert [set(plain[labels == person]) for person in range(4)] == [{0}, {1}, {-1}, {-1}]
    doubled = cluster_vectors(copies_of(vectors, 2), 0.5)
    pairs = doubled.labels.reshape(-1, 2)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    np.testing.assert_array_equal(doubled.observations, np.arange(len(vectors)).repeat(2))
    np.testing.assert_array_equal(pairs[plain >= 0, 0], plain[plain >= 0])
    assert len(set(pairs[plain < 0, 0])) == 2, "each with its copy, and with nobody else"


def test_what_is_known_binds_and_two_faces_of_one_photo_are_two_people() -> None:
    vectors, _ = people([6, 4], spread=0.6)
    nothing = Bonds.none(10)
    together = nothing.together.copy()
    together[9] = together[0]  # a face of the other person
    photo = nothing.photo.copy()
    photo[7] = photo[8]
    clusters = cluster_vectors(vectors, 0.5, bonds=Bonds(together, [(1, 2)], photo)).labels
    assert clusters[9] == clusters[0] >= 0
    assert clusters[7] != clusters[8]
    assert clusters[1] != clusters[2]
    mirrored = vectors.copy()
    mirrored[8] = copies_of(vectors[7:8], 1)[0]
    clusters = cluster_vectors(mirrored, 0.5, bonds=Bonds(nothing.together, [], photo)).labels
    assert clusters[7] == clusters[8] >= 0, "a mirror or a collage shows one person twice"


def test_bonds_hold_across_parts_of_a_large_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = people([8, 7, 6, 5])
    together = np.arange(26)
    together[25] = 0
    gallery = Gallery.open(write_table(tmp_path / "f.parquet", vectors))
    monkeypatch.setattr(module, "WHOLE", 16)
    bonds = Bonds(together, [], np.arange(26))
    clusters = cluster_gallery(gallery, 0.6, bonds=bonds).labels
    assert clusters[25] == clusters[0]


def test_clusters_are_numbered_by_size_and_small_ones_can_be_left_out() -> None:
    np.testing.assert_array_equal(by_size(np.array([7, 7, 2, 2, 2, -1, 5])), [1, 1, 0, 0, 0, -1, 2])
    vectors, labels = people([5, 2])
    found = cluster_vectors(vectors, 0.6, min_size=3).labels
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
    whole = cluster_gallery(gallery, 0.6).labels
    monkeypatch.setattr(module, "WHOLE", 12)
    np.testing.assert_array_equal(cluster_gallery(gallery, 0.6).labels, whole)
    assert [len(set(whole[labels == person])) for person in range(8)] == [1] * 8


def test_thousands_of_copies_are_cut_into_parts_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE", 20)
    vectors = np.repeat(unit_vectors(1, 16), 70, axis=0)
    found = cluster_gallery(Gallery.open(write_table(tmp_path / "f.parquet", vectors)), 0.6).labels
    assert (found >= 0).all()


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_and_one_face_give_no_cluster(count: int) -> None:
    assert cluster_vectors(unit_vectors(count, 16), 0.5).labels.tolist() == [-1] * count


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


def test_a_photo_is_not_taken_for_a_damaged_table(cli: Cli, tmp_path: Path) -> None:
    """Nobody is told to remove it."""
    photo = tmp_path / "pets.jpg"
    Image.new("RGB", (9, 9)).save(photo)
    answer = cli("cluster-faces", photo, "--out", tmp_path / "sheet")
    assert answer.code == 1
    assert "is a photo; make a table of faces first: python cli.py embed-faces" in answer.last_error
    assert "remove" not in answer.last_error
