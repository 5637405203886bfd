"""Codes of a byte a number are scanned, and the answer is that of float32: bounds, ties, small memory."""

from __future__ import annotations

import numpy as np
import pytest
from faces_support import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.faces import nearest as module
from apps.faces.nearest import Block, nearest, quantised

pytestmark = pytest.mark.computes


def blocks_of(vectors: np.ndarray, size: int) -> list[Block]:
    return [Block(part, *quantised(part)) for part in np.split(vectors, range(size, len(vectors), size))]


def plain(queries: np.ndarray, vectors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    products = queries @ vectors.T
    rows = np.argsort(-products, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(products, rows, axis=1), rows


@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 400), dim=st.integers(1, 40), top=st.integers(1, 12),
    spread=st.sampled_from([0.001, 0.1, 10.0]), length=st.sampled_from([0.1, 1.0, 7.0]),
)
@settings(deadline=None, max_examples=60)
def test_the_best_of_codes_are_the_best_of_the_vectors(
    seed: int, count: int, dim: int, top: int, spread: float, length: float
) -> None:
    """Also where all vectors lie within a step of the codes, and queries are not of length 1."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal(dim) + spread * random.standard_normal((count, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = (length * random.standard_normal((3, dim))).astype(np.float32)
    top = min(top, count)
    values, rows = nearest(queries, blocks_of(vectors, 150), top)
    want, _ = plain(queries.astype(np.float64), vectors.astype(np.float64), top)
    np.testing.assert_allclose(values, want, atol=1e-5 * length)
    np.testing.assert_allclose((queries[:, None] * vectors[rows]).sum(-1), values, atol=1e-5 * length)
    assert all(len(set(row)) == top for row in rows.tolist())


def test_the_codes_are_never_further_off_than_the_block_says() -> None:
    vectors = unit_vectors(5000, 64)
    codes, scales = quantised(vectors)
    off = np.linalg.norm(vectors - codes * scales[:, None], axis=1).max()
    block = Block(vectors, codes, scales)
    assert off < block.error < 4 * off
    assert np.abs(codes).max() == 127


def test_a_vector_of_zeros_has_codes_of_zeros() -> None:
    codes, scales = quantised(np.zeros((2, 8), np.float32))
    assert not codes.any()
    assert not scales.any()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups were opened, each time."""
    numbers: list[int] = []
    inner = module._opened

    def spied(hits: module._Hits, groups: module._Groups, *rest: object) -> module._Hits:
        numbers.append(len(groups.numbers))
        return inner(hits, groups, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_opened", spied)
    return numbers


def test_of_equal_vectors_the_first_rows_are_given_though_few_groups_may_wait(
    opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All groups may hold a best row; they are opened a few at a time."""
    monkeypatch.setattr(module, "WAITING", 10)
    monkeypatch.setattr(module, "GATHERED", 4 * 32 * 8)
    vectors = np.tile(unit_vectors(1, 8), (3000, 1))
    _, rows = nearest(vectors[:2], blocks_of(vectors, 320), 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert len(opened) > 5
    assert max(opened) < 50


def test_few_groups_are_opened_where_the_answer_is_clear(opened: list[int]) -> None:
    vectors = unit_vectors(20_000, 128)
    queries = vectors[::2000] + 0.02 * unit_vectors(10, 128, seed=5)
    _, rows = nearest(queries, blocks_of(vectors, 4096), 1)
    assert rows[:, 0].tolist() == list(range(0, 20_000, 2000))
    assert opened == [10]
