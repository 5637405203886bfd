"""Batch-norm for convolutions that it was folded into, with statistics measured on photos."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from apps.zoo.convert.network import Slot
from apps.zoo.convert.source import Source, run_directly

State = dict[str, Tensor]


class Moments:
    """Mean and variance of each channel over all pixels of all batches, in double precision.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm".
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, maps: Tensor) -> None:
        """Take in one batch of maps (B, C, H, W)."""
        values = maps.detach().to(torch.float64)
        count = values.numel() // values.shape[1]
        mean = values.mean(dim=(0, 2, 3))
        squares = (values - mean.view(1, -1, 1, 1)).square().sum(dim=(0, 2, 3))
        total = self.count + count
        apart = mean - self.mean
        self.squares = self.squares + squares + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """(C,), of the population."""
        return self.squares / self.count


@torch.inference_mode()
def measure(source: Source, slots: tuple[Slot, ...], batches: Iterable[Tensor]) -> list[Moments]:
    """The moments of every convolution's output, before its bias, on some photos.

    The folded network does not change with them, so one pass serves all layers.

    Args:
        source: the folded network.
        slots: of its layers.
        batches: (B, 3, H, W) each, normalised.
    """
    results = [Moments() for _ in slots]
    strides = tuple(slot.stride for slot in slots)
    for images in batches:
        run_directly(source, strides, images, lambda number, maps: results[number].add(maps))
    return results


def to_state(source: Source, slots: tuple[Slot, ...], measured: list[Moments] | None) -> State:
    """The state of our network, equal in evaluation to what the file computes.

    A folded convolution keeps its weight; its batch-norm takes the measured mean and variance as
    statistics and undoes them by scale sqrt(var + eps) and shift mean + bias. Without measurements the
    statistics are those of the identity: mean 0, var 1 - eps, scale 1.

    Args:
        source: the file's content.
        slots: of its layers.
        measured: by :func:`measure`, for a folded network; None where there are no photos.
    """
    state: State = {}
    for number, (layer, slot) in enumerate(zip(source.layers, slots, strict=True)):
        state[f"{slot.conv}.weight"] = layer.weight
        if layer.norm is not None:
            n = layer.norm
            parts = n.scale, n.shift, n.mean, n.var
        else:
            bias = layer.bias if layer.bias is not None else torch.zeros(slot.shape[0])
            parts = _unfolded(bias, measured[number] if measured else None, slot.eps)
        for key, value in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True):
            state[f"{slot.norm}.{key}"] = value
    if source.classifier is not None:
        state["classifier.weight"], state["classifier.bias"] = source.classifier
    state |= source.extras
    return {key: value.to(torch.float32).contiguous() for key, value in state.items()}


def _unfolded(bias: Tensor, moments: Moments | None, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(scale, shift, mean, var) whose batch-norm adds ``bias`` and does nothing else."""
    mean = torch.zeros(len(bias), dtype=torch.float64)
    var = torch.full_like(mean, 1 - eps)
    if moments is not None:
        mean, var = moments.mean.to(torch.float32).double(), moments.variance.to(torch.float32).double()
    return (var + eps).sqrt(), mean + bias, mean, var
