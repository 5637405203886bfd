"""Mixup and cutmix: shares that are true, choices that come again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from timm.data import Mixup
from torch import Tensor

from apps.engine.training.mixup import Mixer
from heads import Classifier

pytestmark = pytest.mark.computes


def flat_photos(count: int, size: int = 16) -> Tensor:
    """Photo i is of the value i, so that a mix shows what it is made of."""
    levels = torch.arange(count, dtype=torch.float32)
    return levels[:, None, None, None].expand(count, 3, size, size).clone()


@pytest.mark.parametrize("count", [2, 5, 8])
@pytest.mark.parametrize("kind", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_the_target_holds_each_photos_share_of_the_pixels(kind: Any, count: int) -> None:
    """The mean value of a mix of photos worth 0, 1, 2, ... is that of its classes, odd batches too."""
    np.random.seed(0)
    images, targets = Mixer(count, **kind)(flat_photos(count), torch.arange(count))
    assert images.shape == (count, 3, 16, 16)
    assert targets.shape == (count, count)
    assert targets.sum(1).tolist() == pytest.approx([1.0] * count)
    worth = targets @ torch.arange(count, dtype=torch.float32)
    torch.testing.assert_close(images.mean((1, 2, 3)), worth, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_no_photo_meets_itself_where_there_is_another(count: int) -> None:
    """Pairing first with last leaves the middle one of an odd batch as it was: it would never be mixed."""
    for seed in range(5):
        np.random.seed(seed)
        _, targets = Mixer(count, mixup=1.0)(flat_photos(count), torch.arange(count))
        assert (targets > 0).sum(1).tolist() == [2] * count


def test_the_same_seed_mixes_the_same_and_another_does_not() -> None:
    mixer = Mixer(6, mixup=0.4, cutmix=1.0)
    mixes = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        torch.manual_seed(seed)
        mixes.append(mixer(flat_photos(6), torch.arange(6)))
        torch.rand(3)  # what happens between two steps leaves no mark on the next
    assert torch.equal(mixes[0][0], mixes[1][0])
    assert torch.equal(mixes[0][1], mixes[1][1])
    assert not torch.equal(mixes[0][1], mixes[2][1])


def test_the_photos_given_stay_as_they_are() -> None:
    photos = flat_photos(4).to(memory_format=torch.channels_last)
    kept = photos.clone()
    for count in (3, 4):
        mixed, _ = Mixer(4, mixup=1.0)(photos[:count], torch.arange(count))
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        assert not torch.equal(mixed, kept[:count])
        assert torch.equal(photos, kept)


def test_a_single_photo_is_left_alone_with_its_class() -> None:
    photos = flat_photos(1) + 1
    images, targets = Mixer(3, mixup=1.0)(photos, torch.tensor([2]))
    assert torch.equal(images, photos)
    assert targets.tolist() == [[0.0, 0.0, 1.0]]


def test_labels_are_smoothed_once_by_the_heads_loss() -> None:
    """Against timm, which smooths in the mixer; smoothing in both would smooth twice."""
    torch.manual_seed(0)
    head, logits = Classifier(4, 5, label_smoothing=0.2), torch.randn(6, 5)
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    np.random.seed(1)
    _, shares = Mixer(5, mixup=0.4)(flat_photos(6), targets)
    np.random.seed(1)
    _, smooth = Mixup(mixup_alpha=0.4, label_smoothing=0.2, num_classes=5)(flat_photos(6), targets)
    expected = torch.nn.functional.cross_entropy(logits, smooth)
    torch.testing.assert_close(head.loss(logits, shares)["cross_entropy"], expected)


@pytest.mark.parametrize(("targets", "message"), [
    (torch.rand(4, 3), r"one class a photo.*class indices of shape \(4,\), got torch.float32 \(4, 3\)"),
    (torch.rand(4), "got torch.float32"),
    (torch.zeros(4, dtype=torch.bool), "got torch.bool"),
    (torch.zeros(3, dtype=torch.long), r"\(3,\); leave --mixup and --cutmix out"),
    (torch.tensor([0, 1, 2, 3]), "class indices must be 0 to 2, got 0 to 3"),
    (torch.tensor([0, -1, 2, 2]), "class indices must be 0 to 2, got -1 to 2"),
])
def test_targets_that_are_no_class_indices_are_refused(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixer(3, mixup=1.0)(flat_photos(4), targets)


def test_bytes_are_refused_because_their_mix_would_be_cut_to_whole_numbers() -> None:
    with pytest.raises(ValueError, match=r"float images of shape .*, got torch.uint8"):
        Mixer(3, mixup=1.0)(flat_photos(2).byte(), torch.tensor([0, 1]))


@pytest.mark.parametrize(("options", "message"), [
    ({}, "--mixup or --cutmix must be above 0 to mix, got 0.0 and 0.0"),
    ({"mixup": -1.0, "cutmix": 1.0}, "got -1.0 and 1.0"),
])
def test_a_mixer_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixer(3, **options)
