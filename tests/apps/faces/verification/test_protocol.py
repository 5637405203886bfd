"""Figures of faces against naive loops, closed forms, and the figures known for the real teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faces_support import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.faces.verification import protocol as module
from apps.faces.verification.evaluate import read_vectors
from apps.faces.verification.intervals import tar_intervals
from apps.faces.verification.protocol import (
    all_against_all,
    best_threshold,
    equal_error_rate,
    far_name,
    listed_pairs,
    pair_blocks,
    pair_figures,
    rank1,
)

pytestmark = pytest.mark.computes


def crowd(count: int = 90, people: int = 20, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, people, count))
    labels = np.unique(labels, return_inverse=True)[1]
    vectors = unit_vectors(people, 16, seed=seed)[labels] + 0.7 * unit_vectors(count, 16, seed=seed + 1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def all_pairs(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In the blocks in use: a product of other blocks differs in its last bit."""
    parts = list(pair_blocks(vectors, labels))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@pytest.mark.parametrize("block", [7, 90, 4096])
def test_every_pair_comes_once_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    vectors, labels = crowd()
    seen = {
        (i, j): (product, same)
        for products, sames, a, b in pair_blocks(vectors, labels)
        for product, same, i, j in zip(products, sames, a, b, strict=True)
    }
    assert sorted(seen) == [(i, j) for i in range(90) for j in range(i + 1, 90)]
    assert sum(len(part[0]) for part in pair_blocks(vectors, labels)) == 90 * 89 // 2
    for (i, j), (product, same) in seen.items():
        assert product == pytest.approx(vectors[i] @ vectors[j], abs=1e-5)
        assert same == (labels[i] == labels[j])


@pytest.mark.parametrize("bins", [4, 1 << 16])
def test_tar_at_far_equals_sorting_all_pairs(monkeypatch: pytest.MonkeyPatch, bins: int) -> None:
    monkeypatch.setattr(module, "BINS", bins)
    monkeypatch.setattr(module, "BLOCK", 32)
    vectors, labels = crowd()
    similarities, same = all_pairs(vectors, labels)
    impostors = np.sort(similarities[~same])[::-1]
    points = all_against_all(vectors, labels, (0.3, 0.1, 0.01, 0.001))
    assert [point.far for point in points] == [0.3, 0.1, 0.01, 0.001]
    for point in points:
        allowed = int(point.far * len(impostors))
        assert (similarities[~same] >= point.threshold).sum() == allowed
        assert point.tar == (similarities[same] > impostors[allowed]).mean()


def test_a_rate_of_less_than_one_impostor_pair_is_left_out() -> None:
    vectors, labels = crowd(30, 6)
    assert [p.far for p in all_against_all(vectors, labels, (0.1, 1e-6))] == [0.1]


def test_equal_similarities_are_accepted_together_or_not_at_all() -> None:
    """Ten impostors at one similarity: a rate that lets one pass must let none pass."""
    similarities = np.array([0.5] * 10 + [0.4, 0.6])
    same = np.array([False] * 10 + [True, True])
    (point,) = listed_pairs(similarities, same, (0.1,))
    assert point.threshold > 0.5
    assert point.tar == 0.5


def test_the_accuracy_of_a_fold_has_the_threshold_of_the_others() -> None:
    """A threshold taken from the fold itself would be right on all of the second fold."""
    similarities = np.array([0.9, 0.8, 0.2, 0.1, 0.45, 0.4, 0.35, 0.3])
    same = np.array([True, True, False, False] * 2)
    folds = np.repeat([1, 2], 4)
    found = pair_figures(similarities, same, folds)
    assert found.thresholds == pytest.approx((0.375, 0.5))
    assert found.accuracy == pytest.approx((1.0 + 0.5) / 2)
    assert found.accuracy_se == pytest.approx(np.std([1.0, 0.5], ddof=1) / np.sqrt(2))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40))
@settings(deadline=None, max_examples=80)
def test_no_threshold_is_right_more_often_than_the_best(pairs: list[tuple[int, bool]]) -> None:
    similarities = np.array([value / 10 for value, _ in pairs])
    same = np.array([one for _, one in pairs])
    right = ((similarities >= best_threshold(similarities, same)) == same).sum()
    for limit in np.arange(-0.05, 1.1, 0.05):
        assert ((similarities >= limit) == same).sum() <= right


@pytest.mark.parametrize(
    ("similarities", "same", "eer"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.0),
        ([0.9, 0.2, 0.8, 0.1], [1, 1, 0, 0], 0.5),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 1.0),
    ],
)
def test_the_equal_error_rate_of_cases_that_can_be_counted(
    similarities: list[float], same: list[int], eer: float
) -> None:
    assert equal_error_rate(np.array(similarities), np.array(same, dtype=bool)) == pytest.approx(eer)


def test_rank_1_counts_people_with_several_photos_only() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    vectors[1] = [0.8, 0.6, 0]
    vectors[2] = [0.6, 0.8, 0]  # person 1, nearer to the second photo of person 0 than anybody else
    assert rank1(vectors, np.array([0, 0, 1, 2])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="nobody has two photos"):
        rank1(vectors, np.arange(4))


def test_intervals_hold_the_figure_and_shrink_with_the_number_of_people() -> None:
    widths = []
    for people in (10, 160):
        vectors, labels = crowd(6 * people, people, seed=2)
        points = all_against_all(vectors, labels, (0.01,))
        low, high = tar_intervals(vectors, labels, points, draws=100)[0.01]
        assert low <= points[0].tar <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_one_photo_drawn_by_all_gives_the_figure_itself() -> None:
    """A draw in which everybody comes once must give back the TAR of the whole."""
    from apps.faces.verification.intervals import _tail, _tar

    vectors, labels = crowd()
    (point,) = all_against_all(vectors, labels, (0.02,))
    tail = _tail(vectors, labels, [point])
    assert _tar(tail, np.ones(len(tail.photos), dtype=np.int64), 0.02) == pytest.approx(point.tar)


@pytest.mark.parametrize(
    ("same", "folds", "message"),
    [
        ([True, False], [1, 1], "two folds or more"),
        ([True, True], [1, 2], "pairs of two people are both needed"),
    ],
)
def test_too_little_to_judge_by_is_said(same: list[bool], folds: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair_figures(np.array([0.1, 0.2]), np.array(same), np.array(folds))
    with pytest.raises(ValueError, match="nothing to compare"):
        all_against_all(unit_vectors(3, 4), np.arange(3))


@pytest.mark.parametrize(("far", "name"), [(1e-2, "1e-2"), (1e-4, "1e-4"), (1e-6, "1e-6")])
def test_rates_are_named_as_the_design_does(far: float, name: str) -> None:
    assert far_name(far) == name


def test_files_of_vectors_are_read_by_name_and_bad_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "v.npz"
    np.savez(file, name=np.array(["a/1.jpg", "b/1.jpg"]), vector=2 * np.eye(2))
    vectors, gone = read_vectors(file, ["b/1", "c/1"])
    assert gone.tolist() == [False, True]
    np.testing.assert_allclose(vectors[0], [0, 1])
    with pytest.raises(ValueError, match="has a vector for none of the photos, such as x"):
        read_vectors(file, ["x"])
    np.savez(tmp_path / "o.npz", other=np.zeros(2))
    with pytest.raises(ValueError, match=r"it has no array name, vector, only other"):
        read_vectors(tmp_path / "o.npz", ["x"])
    with pytest.raises(FileNotFoundError, match=r"missing; give a \.npz file"):
        read_vectors(tmp_path / "no.npz", ["x"])


def test_the_teachers_figures_are_those_known_for_it(shared: Path) -> None:
    """1,461 photos of the folds 7 and 8: TAR 95.7, 87.0, 72.3 and 51.6 % all against all, accuracy 97.8 %."""
    from apps.engine.core.console import Console
    from apps.faces.verification.evaluate import evaluate_faces

    root = shared / "data" / "lfw_grey"
    (line,) = evaluate_faces(
        root, predictions=[root / "teacher.npz"], folds=[7, 8], console=Console(quiet=True)
    )
    assert line["n"] == 1461
    tars = [line["metrics"][f"tar@far=1e-{k}"] for k in (2, 3, 4, 5)]
    np.testing.assert_allclose(tars, [0.957, 0.870, 0.723, 0.516], atol=0.002)
    assert line["metrics"]["accuracy"] == pytest.approx(0.978, abs=0.003)
    low, high = line["intervals"]["tar@far=1e-4"]
    assert low < 0.723 < high
