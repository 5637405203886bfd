"""Transforms on bytes: Pillow's pixels, the paper's distortions, and nothing from anybody else's dice."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import functional as pil

from apps.engine.data import transforms
from apps.engine.data.transforms import (
    decode_size,
    eval_transform,
    jitter_colours,
    seeded,
    side_for_training,
    tame,
    train_transform,
)
from backbone._cpu import colours, kernels
from datasets.image_io import find_images, read_pixels


def scene(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Smooth shapes and some noise, as photos have both."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = coarse.resize(size, Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth).astype(int) + rng.integers(-15, 16, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(500, 375), (320, 487), (90, 60), (224, 224), (1200, 300)])
@pytest.mark.parametrize(("resolution", "crop"), [(224, 0.875), (128, 0.875), (96, 1.0)])
def test_looking_gives_pillows_pixels_to_within_one_level(
    size: tuple[int, int], resolution: int, crop: float
) -> None:
    image = scene(size)
    reference = create_transform(
        resolution, is_training=False, use_prefetcher=True, normalize=False, crop_pct=crop,
        interpolation="bilinear",
    )(image)
    ours = eval_transform(resolution, crop)(np.array(image))
    difference = ours.numpy().astype(int) - np.asarray(reference)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.06


def test_looking_at_real_photos_gives_pillows_pixels(imagewoof: Path) -> None:
    reference = create_transform(224, is_training=False, use_prefetcher=True, normalize=False, crop_pct=0.875,
                                 interpolation="bilinear")
    for path in [*find_images([imagewoof / "val"])][::60]:
        pixels = read_pixels(path)
        ours = eval_transform(224, 0.875)(pixels).numpy().astype(int)
        difference = np.abs(ours - np.asarray(reference(Image.fromarray(pixels))))
        assert (difference.max() <= 1, difference.mean() < 0.06) == (True, True)


@pytest.mark.parametrize("size", [(1, 1), (20000, 3), (3, 20000), (500, 300)])
def test_any_photo_becomes_a_square_without_blowing_up(size: tuple[int, int]) -> None:
    """Resizing the short side of 20000 x 3 to 146 px would make 973,333 x 146 pixels."""
    image = Image.new("RGB", size, (10, 200, 30))
    tamed = tame(torch.zeros(3, size[1], size[0], dtype=torch.uint8)).shape[1:]
    assert max(tamed) <= 8 * min(tamed)
    for transform in (eval_transform(128, 0.875), train_transform(128)):
        pixels = transform(image)
        assert pixels.shape == (3, 128, 128)
        assert pixels.dtype == torch.uint8
    assert eval_transform(128, 0.875)(image)[:, 64, 64].tolist() == [10, 200, 30]


def test_a_crop_without_colour_changes_is_pillows_crop() -> None:
    image = scene((400, 300))
    random.seed(3)
    ours = train_transform(128, jitter=0.0)(np.array(image))
    random.seed(3)
    box = transforms.RandomResizedCropAndInterpolation.get_params(image, (0.35, 1.0), (3 / 4, 4 / 3))
    reference = pil.resized_crop(image, *box, [128, 128])
    if random.random() < 0.5:
        reference = pil.hflip(reference)
    difference = np.abs(ours.permute(1, 2, 0).numpy().astype(int) - np.asarray(reference))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def factors(monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...], values: dict[str, float]) -> None:
    drawn = iter([values[kind] for kind in order])
    monkeypatch.setattr(transforms.random, "choice", lambda _: order)
    monkeypatch.setattr(transforms.random, "uniform", lambda _low, _high: next(drawn))


@pytest.mark.parametrize("order", transforms._ORDERS)
def test_one_matrix_does_what_pillow_does_in_three_steps(
    order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from black and white, where Pillow clips between the steps, to within its rounding."""
    values = {"brightness": 1.15, "contrast": 0.85, "saturation": 1.2}
    middle = Image.fromarray((np.asarray(scene((64, 48))) // 2 + 60).astype(np.uint8))
    factors(monkeypatch, order, values)
    ours = jitter_colours(torch.from_numpy(np.array(middle)).permute(2, 0, 1), 0.2)
    steps: dict[str, Any] = {"brightness": pil.adjust_brightness, "contrast": pil.adjust_contrast,
                             "saturation": pil.adjust_saturation}
    reference = middle
    for kind in order:
        reference = steps[kind](reference, values[kind])
    difference = ours.permute(1, 2, 0).numpy().astype(int) - np.asarray(reference)
    assert np.abs(difference).max() <= 3
    assert np.abs(difference).mean() < 1.6  # Pillow cuts after each step, half a level on average


def test_no_jitter_leaves_every_byte_and_clipping_stays_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.from_numpy(np.array(scene((40, 30)))).permute(2, 0, 1)
    assert torch.equal(jitter_colours(image, 0.0), image)
    order = ("brightness", "contrast", "saturation")
    factors(monkeypatch, order, {"brightness": 2.0, "contrast": 2.0, "saturation": 2.0})
    bright = jitter_colours(image, 1.0)
    assert (bright.min().item(), bright.max().item()) == (0, 255)


def test_the_jitter_does_not_hang_on_the_number_of_threads() -> None:
    """Sums of floats in another order would round some bytes the other way."""
    image = torch.from_numpy(np.array(scene((224, 224)))).permute(2, 0, 1)
    made = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            random.seed(1)
            made.append(jitter_colours(image, 0.3))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


@pytest.mark.parametrize("size", [(224, 224), (1, 1), (37, 5), (301, 257)])
@pytest.mark.parametrize("amount", [0.2, 1.0])
def test_compiled_colours_are_those_of_pytorch_to_the_bit(
    size: tuple[int, int], amount: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.from_numpy(np.array(scene(size))).permute(2, 0, 1)
    if not colours.usable(image):
        pytest.skip(f"no kernels: {kernels.state()}")
    made = []
    for _ in range(2):
        random.seed(3)
        made.append(torch.stack([jitter_colours(image, amount) for _ in range(8)]))
        monkeypatch.setattr(colours, "usable", lambda _: False)
    assert torch.equal(*made)
    assert made[0].float().std() > 0 or size == (1, 1)


def views(transform: transforms.ImageTransform, count: int) -> list[torch.Tensor]:
    pixels, made = np.array(scene((200, 160))), []
    with seeded() as generators:
        for number in range(count):
            generators.seed(7, number)
            made.append(transform(pixels))
    return made


@pytest.mark.parametrize("options", [
    {}, {"jitter": 0.0}, {"randaugment": "m9-mstd0.5"}, {"erase": 1.0},
    {"randaugment": "m5-n3-inc1", "erase": 0.5},
])  # fmt: skip
def test_the_same_seed_gives_the_same_view_and_another_seed_another(options: dict[str, Any]) -> None:
    transform = train_transform(96, **options)
    first, again = views(transform, 4), views(pickle.loads(pickle.dumps(transform)), 4)  # noqa: S301
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert all(one.shape == (3, 96, 96) and one.dtype == torch.uint8 for one in first)


def test_half_of_the_views_are_mirrored() -> None:
    left = np.zeros((64, 64, 3), np.uint8)
    left[:, :32] = 255
    transform = train_transform(32, scale=1.0, jitter=0.0)
    with seeded() as generators:
        mirrored = 0
        for number in range(200):
            generators.seed(number)
            mirrored += int(transform(left)[0, 16, -1]) > 128
    assert 75 <= mirrored <= 125


def test_randaugment_changes_more_than_the_crop() -> None:
    plain = views(train_transform(64, jitter=0.0), 6)
    changed = views(train_transform(64, randaugment="m9-p1"), 6)
    assert sum(not torch.equal(a, b) for a, b in zip(plain, changed, strict=True)) >= 5


def test_erasing_puts_noise_into_one_rectangle_of_2_to_33_percent() -> None:
    plain = views(train_transform(64, jitter=0.0), 20)
    erased = views(train_transform(64, jitter=0.0, erase=1.0), 20)
    for a, b in zip(plain, erased, strict=True):
        changed = (a != b).any(dim=0)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        height, width = (int(found.max() - found.min()) + 1 for found in (rows, columns))
        assert 0.015 < height * width / 64**2 < 0.36
        assert changed.sum() > 0.95 * height * width


def test_erasing_hits_the_share_that_is_asked_for() -> None:
    plain, some = (views(train_transform(32, jitter=0.0, erase=erase), 200) for erase in (0.0, 0.25))
    assert 30 <= sum(not torch.equal(a, b) for a, b in zip(plain, some, strict=True)) <= 72


@pytest.mark.parametrize(("options", "message"), [
    ({"scale": 0.0}, "scale must be above 0 and up to 1, got 0"),
    ({"scale": float("nan")}, "scale must be above 0 and up to 1, got nan"),
    ({"jitter": 1.5}, "jitter must be 0 to 1, got 1.5"),
    ({"erase": -0.1}, "erase must be 0 to 1, got -0.1"),
    ({"randaugment": "nonsense"}, "randaugment 'nonsense' is not known; give timm's .* such as m9-mstd0.5"),
    ({"randaugment": ""}, "randaugment '' is not known"),
    ({"randaugment": "m9-q5"}, "randaugment 'm9-q5' is not known"),
    ({"randaugment": "m9-tnothing"}, "randaugment 'm9-tnothing' is not known"),
    ({"randaugment": "mstd0..5"}, "is not known"),
])
def test_settings_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_transform(32, **options)


@pytest.mark.parametrize("transform", [
    eval_transform(64, 0.875), eval_transform(64, 1.0), train_transform(64),
    train_transform(64, randaugment="m9", erase=1.0),
])
def test_squares_are_channels_last_in_memory_so_that_a_batch_is_a_plain_copy(
    transform: transforms.ImageTransform,
) -> None:
    for size in ((200, 160), (64, 64), (64, 90)):
        assert transform(np.array(scene(size))).permute(1, 2, 0).stride()[1:] == (3, 1)


def test_a_crop_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crop must be above 0 and up to 1, got 1\.1"):
        eval_transform(32, 1.1)


def test_photos_are_read_large_enough_for_the_smallest_crop() -> None:
    assert side_for_training(224, 0.49) == 320
    assert side_for_training(224, 0.08) == side_for_training(224, 1 / 3) == 388  # smaller crops may blur
    assert decode_size(224, 0.875) == 512


def test_the_generators_are_put_back_after_many_photos() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    views(train_transform(32, randaugment="m9", erase=1.0), 3)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
