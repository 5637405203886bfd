"""The embedding head: unit vectors, their loss against a teacher's, and learning."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from heads import AngularMargin, Embedding

pytestmark = pytest.mark.computes


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("size", [None, (3, 2)])
@pytest.mark.parametrize("dim", [1, 3, 512, 1000])
def test_every_vector_has_length_one_whatever_the_map(size: tuple[int, int] | None, dim: int) -> None:
    head = Embedding(16, dim, map_size=size)
    vectors = head(torch.randn(4, 16, 3, 2) * 50)
    assert vectors.shape == (4, dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))


def test_the_pooled_head_forgets_where_things_are_and_the_whole_map_does_not() -> None:
    maps = torch.randn(1, 8, 2, 2)
    turned = maps.flip(3)
    pooled, whole = Embedding(8), Embedding(8, map_size=2)
    assert pooled.uses_global_pool
    assert not whole.uses_global_pool
    torch.testing.assert_close(pooled(maps), pooled(turned))
    assert (whole(maps) - whole(turned)).abs().max() > 0.01


def test_pooled_features_give_the_same_vector_as_whole_maps() -> None:
    head, maps = Embedding(8).eval(), torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(head(maps), head(maps.mean(dim=(2, 3), keepdim=True)))


def test_a_map_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"whole maps of 4 x 4, got 7 x 7; give images of the size"):
        Embedding(8, map_size=(4, 4))(torch.randn(1, 8, 7, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dim": 0}, "1 dimension or more, got 0"),
        ({"map_size": (0, 4)}, r"1 x 1 or larger, got map_size \(0, 4\)"),
        ({"cosine_weight": -1.0}, "must be 0 or more, got -1.0"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(8, **options)  # type: ignore[arg-type]


def test_the_loss_is_the_squared_distance_to_the_teacher_whose_length_does_not_matter() -> None:
    """Opposite vectors are 4 apart, right angles 2, equal ones 0: the mean of three pictures is 2."""
    first, second = torch.eye(128)[0], torch.eye(128)[1]
    output, teacher = torch.stack([first, first, first]), 7 * torch.stack([-first, second, first])
    terms = Embedding(8).loss(output, teacher)
    assert set(terms) == {"squared_difference"}
    assert terms["squared_difference"].item() == pytest.approx(2.0)


def test_the_cosine_term_is_half_the_squared_difference_of_unit_vectors() -> None:
    terms = Embedding(8, cosine_weight=1.0).loss(unit(5, 128), unit(5, 128, seed=1))
    assert terms["cosine"].item() == pytest.approx(terms["squared_difference"].item() / 2, rel=1e-5)


def test_the_relational_term_sees_only_how_pictures_lie_to_each_other() -> None:
    """A teacher turned as a whole has the same relations; the squared difference is large."""
    output = unit(6, 128)
    turn = torch.linalg.qr(torch.randn(128, 128, generator=torch.Generator().manual_seed(3)))[0]
    terms = Embedding(8, relational_weight=1.0).loss(output, output @ turn)
    assert terms["relational"].item() < 1e-10
    assert terms["squared_difference"].item() > 1
    naive = [
        (output[i] @ output[j] - unit(6, 128, seed=9)[i] @ unit(6, 128, seed=9)[j]) ** 2
        for i in range(6)
        for j in range(6)
    ]
    second = Embedding(8, relational_weight=0.5).loss(output, unit(6, 128, seed=9))
    assert second["relational"].item() == pytest.approx(0.5 * torch.stack(naive).mean().item(), rel=1e-5)


@pytest.mark.parametrize("dim", [1, 3, 1000])
def test_any_size_has_losses_and_gradients(dim: int) -> None:
    head = Embedding(8, dim, cosine_weight=1.0, relational_weight=1.0, margin_loss=AngularMargin(3, dim))
    target = {"vector": unit(4, dim, seed=2).tolist(), "person": [0, 1, 2, 0]}
    losses = head.loss(head(torch.randn(4, 8, 2, 2)), target)
    assert set(losses) == {"squared_difference", "cosine", "relational", "margin"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_a_teacher_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 128\), the teacher of \(2, 512\)"):
        Embedding(8).loss(unit(2, 128), unit(2, 512))


def test_decode_gives_plain_numbers_of_length_one() -> None:
    (row,) = Embedding(8).decode(2.0 * torch.eye(128)[:1])
    assert row[:2] == (1.0, 0.0)
    assert len(row) == 128


def test_eight_pictures_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    head, maps, teacher = Embedding(32, 128), torch.randn(8, 32, 2, 2), unit(8, 128, seed=5)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        sum(head.loss(head(maps), teacher).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    assert head.loss(head(maps), teacher)["squared_difference"].item() < 0.01
