"""Photos to squares: crop, resize, mirror and colours on bytes, all chance from seeded generators."""

from __future__ import annotations

import math
import random
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor
from torchvision.transforms import RandomErasing

from backbone._cpu import colours
from datasets.image_io import Pixels

MAX_ASPECT = 8  # longer images keep their middle, so that resizing cannot blow one up
SHARP_SHARE = 1 / 3  # of an image: crops down to this keep their sharpness
RATIO = (3 / 4, 4 / 3)
ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)
LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as Pillow weighs colours to grey
GREY = (128, 128, 128)
_ORDERS = list(permutations(("brightness", "contrast", "saturation")))
_RANDAUGMENT = re.compile(r"(m\d+|n\d+|p[\d.]+|mstd[\d.]+|mmax\d+|inc[01]|tweights|t3aw?)(-|$)")


class ImageTransform(ABC):
    """A transform that leaves targets as they are."""

    def both(self, pixels: Pixels, target: Any) -> tuple[Tensor, Any]:
        """The image as the network sees it, and its target."""
        return self(pixels), target

    @abstractmethod
    def __call__(self, photo: Pixels | Image.Image) -> Tensor:
        """The image as the network sees it."""


def train_transform(
    resolution: int, *, scale: float = 0.35, jitter: float = 0.2, randaugment: str | None = None,
    erase: float = 0.0,
) -> TrainTransform:
    """Random crop of ``scale`` to 1 of the area, mirror, a little colour: the paper distorts little.

    Args:
        resolution: side of the result in pixels.
        scale: smallest share of the area in a crop, above 0 and up to 1.
        jitter: brightness, contrast and saturation each change by a factor of 1 - jitter to
            1 + jitter, 0 to 1; as in timm not beside ``randaugment``, which has its own.
        randaugment: timm's configuration such as ``m9-mstd0.5``; None for none.
        erase: probability of a rectangle of noise, 0 to 1.

    Raises:
        ValueError: a number is out of its range, or timm does not know the configuration.
    """
    return TrainTransform(resolution, scale, jitter, randaugment, erase)


def eval_transform(resolution: int, crop: float, resize: str = "crop") -> EvalTransform:
    """Resize the short side to resolution / crop, then the central square; or the whole image.

    Args:
        resolution: side of the result in pixels.
        crop: share of the short side that is seen, above 0 and up to 1.
        resize: ``crop``, or ``squash`` for the whole image without its shape.

    Raises:
        ValueError: crop is out of its range.
    """
    return EvalTransform(resolution, crop, resize)


def side_for_training(resolution: int, scale: float) -> int:
    """Short side in pixels that no crop of a third of the image or more has to be blown up from.

    Smaller crops (``scale`` below a third) come out up to ``sqrt(1 / (3 * scale))`` times blurred: to keep
    them sharp an image would have to be read, and cached, at many times the pixels that a batch shows.
    """
    return math.ceil(resolution / math.sqrt(max(scale, SHARP_SHARE)))


def decode_size(resolution: int, crop: float) -> int:
    """Twice the short side after resizing, so that decoding smaller costs no sharpness."""
    return 2 * math.ceil(resolution / crop)


@dataclass(frozen=True)
class TrainTransform(ImageTransform):
    """What :func:`train_transform` makes; see there."""

    resolution: int
    scale: float
    jitter: float
    randaugment: str | None
    erase: float

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be above 0 and up to 1, got {self.scale}")
        for name in ("jitter", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if self.randaugment is not None:
            _check_randaugment(self.randaugment)

    def __call__(self, photo: Pixels | Image.Image) -> Tensor:
        """A random view of the image, from Python's, numpy's and torch's global generators."""
        image = _tensor(photo)
        areas, side = (self.scale, 1.0), self.resolution
        top, left, height, width = RandomResizedCropAndInterpolation.get_params(image, areas, RATIO)
        image = _resize(image[:, top : top + height, left : left + width], side, side)
        if random.random() < 0.5:
            image = image.flip(-1)
        if self.randaugment is not None:
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            image = _tensor(self._randaugment(picture))
        elif self.jitter:
            image = jitter_colours(image, self.jitter)
        if self.erase and random.random() < self.erase:
            image = _erase(image)
        return image

    @cached_property
    def _randaugment(self) -> Any:
        hparams = {"translate_const": int(self.resolution * 0.45), "img_mean": GREY}
        return rand_augment_transform(f"rand-{self.randaugment}", hparams)


@dataclass(frozen=True)
class EvalTransform(ImageTransform):
    """What :func:`eval_transform` makes; see there."""

    resolution: int
    crop: float
    resize: str = "crop"

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and up to 1, got {self.crop}")

    def __call__(self, photo: Pixels | Image.Image) -> Tensor:
        """The middle of the image, or all of it."""
        if self.resize == "squash":
            return _resize(_tensor(photo), self.resolution, self.resolution)
        image = tame(_tensor(photo))
        height, width = image.shape[1:]
        side = math.floor(self.resolution / self.crop)
        short = min(height, width)
        image = _resize(image, side * height // short, side * width // short)
        top, left = (round((size - self.resolution) / 2) for size in image.shape[1:])
        return image[:, top : top + self.resolution, left : left + self.resolution]


def tame(image: Tensor) -> Tensor:
    """The middle of an image longer than eight times its width; others as they are.

    Shape:
        image: (3, H, W)
    """
    for axis in (1, 2):
        size, longest = image.shape[axis], MAX_ASPECT * min(image.shape[1:])
        if size > longest:
            image = image.narrow(axis, (size - longest) // 2, longest)
    return image


def jitter_colours(image: Tensor, amount: float) -> Tensor:
    """Change brightness, contrast and saturation by random factors, in random order.

    The three are affine in the colours, so they are one matrix of 3 x 3 and one pass; clipping
    happens once at the end and not between them.

    Args:
        image: (3, H, W) uint8.
        amount: factors are 1 - amount to 1 + amount.
    """
    quick = colours.usable(image)
    sums = colours.channel_sums(image) if quick else _channel_sums(image)
    grey = sum(part * total for part, total in zip(LUMA, sums, strict=True)) / image[0].numel()
    custom, mixed, shift = 1.0, 0.0, 0.0  # a channel becomes own * channel + mixed * grey + shift
    for kind in random.choice(_ORDERS):
        factor = random.uniform(1 - amount, 1 + amount)
        if kind == "saturation":
            custom, mixed = factor * custom, mixed + (1 - factor) * custom
        else:
            mean = (custom + mixed) * grey + shift
            custom, mixed, shift = factor * custom, factor * mixed, factor * shift
            shift += (1 - factor) * mean if kind == "contrast" else 0.0
    matrix = [[_units(mixed * part + custom * (a == b)) for a, part in enumerate(LUMA)] for b in range(3)]
    return (colours.mixed if quick else _mixed)(image, matrix, _units(shift + 0.5))  # the cut rounds, so


def _channel_sums(image: Tensor) -> list[float]:
    """The sum of each channel; whole numbers below 2^24 are exact, in whatever order."""
    sums: list[float] = image.float().contiguous().sum(1).double().sum(1).tolist()
    return sums


def _mixed(image: Tensor, matrix: list[list[int]], shift: int) -> Tensor:
    """As :func:`backbone._cpu.colours.mixed`, to the bit: bytes times 1 / 1024 are exact as floats."""
    planes = image.float().contiguous()  # channels apart: here the faster layout, by a factor of five
    weight = torch.tensor(matrix)[:, :, None, None] / colours.UNIT
    planes = F.conv2d(planes[None], weight, torch.full((3,), shift / colours.UNIT))[0].clamp_(0, 255)
    changed = planes.numpy().astype(np.uint8)
    pixels = np.empty((*changed.shape[1:], 3), np.uint8)
    for channel in range(3):
        pixels[:, :, channel] = changed[channel]
    return _tensor(pixels)


def _units(factor: float) -> int:
    """The nearest multiple of 1 / 1024, of which it is the number."""
    return round(factor * colours.UNIT)


def _erase(image: Tensor) -> Tensor:
    """Noise in a rectangle of 2 to 33 % of the area.

    Source: Zhong et al. 2017, "Random Erasing Data Augmentation", algorithm 1.
    """
    top, left, height, width, _ = RandomErasing.get_params(image, ERASED_AREA, ERASED_RATIO, [0.0])
    image = image.clone(memory_format=torch.preserve_format)
    image[:, top : top + height, left : left + width] = torch.randint(
        0, 256, (3, height, width), dtype=torch.uint8
    )
    return image


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with antialiasing on bytes: Pillow's pixels to within one level."""
    return F.interpolate(_batch_of(image), (height, width), mode="bilinear", antialias=True)[0]


def _batch_of(image: Tensor) -> Tensor:
    """(1, 3, H, W) that passes for channels-last, as ``image[None]`` with its odd first stride does not."""
    return image.permute(1, 2, 0)[None].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _tensor(photo: Pixels | Image.Image) -> Tensor:
    """(3, H, W) on the memory of an (H, W, 3) array."""
    pixels = np.array(photo.convert("RGB")) if isinstance(photo, Image.Image) else photo
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _check_randaugment(config: str) -> None:
    parsed = "".join(match.group() for match in _RANDAUGMENT.finditer(config))
    try:
        if parsed != config or not config:
            raise ValueError(config)
        rand_augment_transform(f"rand-{config}", {})
    except (ValueError, AssertionError, KeyError) as err:
        raise ValueError(
            f"randaugment {config!r} is not known; give timm's configuration such as m9-mstd0.5"
        ) from err


class seeded:
    """Seed the three random generators that transforms use; put them back at the end.

    Entered once for many images and seeded anew for each: keeping and restoring costs more than
    seeding.
    """

    def __enter__(self) -> seeded:
        self.kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        return self

    def seed(self, *parts: int) -> None:
        """From here on the choices depend on these numbers alone."""
        value = int(np.random.SeedSequence(parts).generate_state(1)[0])
        random.seed(value)
        np.random.seed(value)
        torch.default_generator.manual_seed(value)  # torch.manual_seed asks every device, for 200 us

    def __exit__(self, *_: object) -> None:
        random.setstate(self.kept[0])
        np.random.set_state(self.kept[1])
        torch.set_rng_state(self.kept[2])
