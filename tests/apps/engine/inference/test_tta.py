"""Several views of a photo, one answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from apps.engine.inference.tta import KINDS, tta_logits, views

pytestmark = pytest.mark.computes


def test_each_kind_has_its_number_and_size_of_views() -> None:
    images = torch.rand(2, 3, 128, 128)
    sizes = {kind: [tuple(one.shape[2:]) for one in views(images, kind)] for kind in KINDS}
    assert sizes["none"] == [(128, 128)]
    assert sizes["mirror"] == [(128, 128)] * 2
    assert sizes["ten"] == [(128, 128)] * 10
    assert sizes["scales"] == [(128, 128)] * 2 + [(160, 160)] * 2


def test_ten_crops_are_the_corners_and_the_centre_and_each_has_its_mirror_image() -> None:
    rows = torch.arange(56.0).view(56, 1).expand(56, 56)
    images = torch.stack([rows, rows.T, rows])[None]
    seen = list(views(images, "ten"))
    means = [one[0, :2].mean((1, 2)).tolist() for one in seen[::2]]  # of the rows and columns that it shows
    low, middle, high = 24.0, 27.5, 31.0  # half of the 7 rows that are left out, either way
    expected = [(low, low), (low, high), (high, low), (high, high), (middle, middle)]
    assert [tuple(one) for one in means] == [pytest.approx(pair, abs=0.1) for pair in expected]
    assert all(torch.equal(b, a.flip(3)) for a, b in zip(seen[::2], seen[1::2], strict=True))


@pytest.mark.parametrize("kind", ["ten", "scales"])
def test_no_view_is_smaller_than_a_backbone_takes(kind: str) -> None:
    assert all(min(one.shape[2:]) >= 32 for one in views(torch.rand(1, 3, 32, 40), kind))


def corner_says(images: Tensor) -> Tensor:
    """Two logits from the upper left pixel: another answer for each view."""
    return torch.stack([images[:, 0, 0, 0] * 5, images[:, 1, 0, -1]], dim=1)


@pytest.mark.parametrize("kind", ["mirror", "ten", "scales"])
def test_the_softmax_of_the_answer_is_the_mean_of_the_views_probabilities(kind: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 3, 64, 64)
    expected = torch.stack([torch.softmax(corner_says(one), 1) for one in views(images, kind)]).mean(0)
    answer = tta_logits(corner_says, images, kind)
    torch.testing.assert_close(torch.softmax(answer, 1), expected)
    torch.testing.assert_close(answer.exp().sum(1), torch.ones(3))


def test_a_mirrored_photo_gets_the_same_answer() -> None:
    images = torch.rand(3, 3, 64, 64)
    for kind in ("mirror", "ten", "scales"):
        both = [tta_logits(corner_says, one, kind) for one in (images, images.flip(3))]
        torch.testing.assert_close(both[0], both[1])
    assert not torch.allclose(corner_says(images), corner_says(images.flip(3)))


def test_without_views_the_logits_are_those_of_the_model() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(tta_logits(corner_says, images, "none"), corner_says(images))


def test_an_unknown_kind_and_an_output_that_is_no_class_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="--tta must be one of none, mirror, ten, scales, got 'five'"):
        views(torch.rand(1, 3, 32, 32), "five")
    with pytest.raises(ValueError, match=r"class logits .*, got \(1, 3, 32, 32\); leave --tta out"):
        tta_logits(lambda images: images, torch.rand(1, 3, 32, 32), "mirror")
