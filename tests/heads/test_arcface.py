"""Margins on the sphere against a naive loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from heads.arcface import AngularMargin

pytestmark = pytest.mark.computes


def naive(part: AngularMargin, vectors: torch.Tensor, people: torch.Tensor) -> float:
    total = 0.0
    directions = F.normalize(part.directions, dim=1)
    for vector, right in zip(vectors, people.tolist(), strict=True):
        logits = []
        for person, direction in enumerate(directions):
            cosine = float(vector @ direction)
            if person == right and part.margin_type == "arcface":
                cosine = math.cos(math.acos(cosine) + part.margin)
            elif person == right:
                cosine -= part.margin
            logits.append(part.scale * cosine)
        highest = max(logits)
        total += highest + math.log(sum(math.exp(logit - highest) for logit in logits)) - logits[right]
    return total / len(vectors)


@pytest.mark.parametrize("margin_type", ["arcface", "cosface"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_the_loss_is_that_of_a_loop_over_people(margin_type: str, margin: float) -> None:
    torch.manual_seed(0)
    part = AngularMargin(5, 16, margin_type=margin_type, margin=margin, scale=8)
    vectors = F.normalize(torch.randn(7, 16), dim=1)
    people = torch.randint(0, 5, (7,))
    assert part(vectors, people).item() == pytest.approx(naive(part, vectors, people), rel=1e-5)


def test_a_larger_margin_is_a_larger_loss() -> None:
    torch.manual_seed(0)
    vectors, people = F.normalize(torch.randn(6, 8), dim=1), torch.arange(6) % 3
    losses = []
    for margin in (0.0, 0.3, 0.6):
        torch.manual_seed(1)
        losses.append(AngularMargin(3, 8, margin=margin)(vectors, people).item())
    assert losses == sorted(losses)


def test_behind_the_last_angle_turning_away_still_costs_more() -> None:
    """cos(angle + margin) alone would fall again past pi - margin, and reward the worst answers."""
    part = AngularMargin(2, 2, margin=0.5, scale=4)
    with torch.no_grad():
        part.directions.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    angles = torch.linspace(2.0, math.pi, 50)
    right = torch.stack([part._with_margin(torch.cos(angle)[None, None]) for angle in angles]).flatten()
    assert bool((right.diff() < 0).all())


def test_gradients_are_finite_at_a_perfect_answer() -> None:
    part = AngularMargin(2, 2, margin=0.5)
    vectors = F.normalize(part.directions.detach().clone(), dim=1).requires_grad_()
    part(vectors, torch.tensor([0, 1])).backward()
    assert vectors.grad is not None
    assert bool(torch.isfinite(vectors.grad).all())


@pytest.mark.parametrize(("given", "words"), [
    ({"margin_type": "sphereface"}, "must be one of arcface, cosface, got 'sphereface'"),
    ({"num_classes": 1}, "separates 2 classes or more, got 1"),
    ({"margin": 1.6}, "a margin of 0 or more and a scale above 0, got 1.6, 32"),
    ({"margin_type": "cosface", "margin": 1.0}, "got 1, 32"),
    ({"scale": 0.0}, "got 0.5, 0"),
])
def test_numbers_out_of_range_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AngularMargin(**({"num_classes": 3, "embedding_dim": 4} | given))  # type: ignore[arg-type]
