"""The contract of a backbone: images in [0, 1] in, a dict of stride -> map out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backbone.schema import PREPROCESSING, checked

MIN_SIZE_PX = 32

ChannelOrder = Literal["rgb", "bgr"]
Resize = Literal["crop", "squash"]


@dataclass(frozen=True)
class Preprocessing:
    """What a set of weights expects of its input; it travels with the weights.

    Args:
        mean: subtracted from each channel of an image in [0, 1], in ``order``.
        std: divided by after that, in ``order``.
        order: ``rgb``, or ``bgr`` for weights from Caffe or OpenCV.
        resolution: side in pixels that the weights were trained or rated at.
        crop: share of the resized short side that the central crop keeps, (0, 1].
        resize: ``crop`` keeps the middle of an image, ``squash`` all of it and not its shape.
    """

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    order: ChannelOrder = "rgb"
    resolution: int = 224
    crop: float = 0.875
    resize: Resize = "crop"

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written into a checkpoint's ``config.json``.

        The usual ``resize`` is left out, so that fingerprints from before there was another still hold.
        """
        values = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if self.resize == "crop":
            del values["resize"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a value is of another type, out of bounds, or not known.
        """
        plain = checked(values, PREPROCESSING, "preprocessing", needed=("mean", "std"))
        mean, std = (tuple(map(float, plain[name])) for name in ("mean", "std"))
        return cls(**{**plain, "mean": mean, "std": std})


class Backbone(nn.Module, ABC):
    """Images to maps; normalisation happens inside, freezing stops batch-norm too.

    A subclass fills ``channels`` (stride -> channels of that map) and gives :meth:`features`. Where
    ``freeze_bn_stats`` is set, batch-norm normalises with the statistics so far, also in training.

    Shape:
        images: (B, 3, H, W) in [0, 1], RGB, H and W from 32 up; uint8 0 to 255 is the same picture.
        returns: {stride: (B, channels[stride], ceil(H / stride), ceil(W / stride))}
    """

    channels: dict[int, int]
    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        self.frozen = self.freeze_bn_stats = False
        self.unused_parameters: frozenset[str] = frozenset()
        self.set_preprocessing(preprocessing or Preprocessing())

    def set_preprocessing(self, preprocessing: Preprocessing) -> None:
        """Take over mean, standard deviation and channel order of a set of weights."""
        self.preprocessing = preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Images in [0, 1], or the same in bytes, as the weights want them; bytes become channels-last."""
        if self.preprocessing.order == "bgr":
            images = images.flip(1)
        if images.dtype == torch.uint8:
            floats = images.to(self.mean.dtype, memory_format=torch.channels_last)
            return floats.sub_(self.mean * 255).div_(self.std * 255)
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Check the shape, normalise, and return the maps."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"expected images of shape (B, 3, H, W), got {tuple(images.shape)}")
        if min(images.shape[2:]) < MIN_SIZE_PX:
            raise ValueError(
                f"images must be {MIN_SIZE_PX} px or more on each side, got {tuple(images.shape[2:])}"
            )
        return self.features(self.normalise(images))

    @abstractmethod
    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps of a batch that is normalised already."""

    def freeze(self) -> None:
        """Stop the gradients and the batch-norm statistics, also through ``train()``."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def unfreeze(self) -> None:
        """Let the network be trained again."""
        self.frozen = False
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in self.unused_parameters)
        self.train()

    def detach_unused(self, part: nn.Module) -> None:
        """Never train a part that no head reads, also after :meth:`unfreeze`.

        ``unused_parameters`` has the names of its parameters.
        """
        detached = {id(parameter) for parameter in part.parameters()}
        self.unused_parameters |= {
            name for name, parameter in self.named_parameters() if id(parameter) in detached
        }
        part.requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """As ``nn.Module.train``, but what is frozen stays in evaluation mode.

        ``freeze_bn_stats`` keeps batch-norm alone so: its scale and shift are trained, its statistics stay.
        """
        super().train(mode and not self.frozen)
        if self.freeze_bn_stats:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def fingerprint(self) -> str:
        """16 hex digits of the sha256 over the state: names, shapes and values."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]
