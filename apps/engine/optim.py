"""Which weights learn how fast, and which decay."""

from __future__ import annotations

from typing import Any

import torch
from timm.scheduler import CosineLRScheduler
from torch import nn


def decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether a weight decays: no bias, no norm, no depthwise filter.

    Source: Howard et al. 2017, section 3.1: little or no weight decay on the depthwise filters,
    since there are so few parameters in them.
    """
    owner = module.get_submodule(name.rpartition(".")[0])
    depthwise = isinstance(owner, nn.Conv2d) and owner.groups == owner.in_channels > 1
    return parameter.ndim > 1 and not depthwise


def parameter_groups(
    model: nn.Module, *, lr: float, backbone_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Up to four groups: backbone and heads, each with and without decay.

    Args:
        model: with parameters named ``backbone.*`` and others.
        lr: rate of the others.
        backbone_lr: the backbone's rate as a share of ``lr``; 0 leaves it as it is.
        weight_decay: decoupled, for the weights of :func:`decays`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        in_backbone = name.startswith("backbone.")
        if parameter.requires_grad and not (in_backbone and backbone_lr == 0):
            groups.setdefault((in_backbone, decays(model, name, parameter)), []).append(parameter)
    return [
        {"params": members, "lr": lr * (backbone_lr if in_backbone else 1.0),
         "weight_decay": weight_decay if decayed else 0.0}
        for (in_backbone, decayed), members in sorted(groups.items(), key=lambda item: item[0])
    ]


def adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW over the groups, fused where this build of torch has it."""
    return torch.optim.AdamW(groups, fused=True)


def cosine(optimizer: torch.optim.Optimizer, *, steps: int, warmup: int) -> CosineLRScheduler:
    """Half a cosine over ``steps`` updates after ``warmup`` linear ones; a function of the step alone."""
    warmup = min(warmup, max(steps - 1, 0))
    return CosineLRScheduler(
        optimizer, t_initial=max(steps - warmup, 2), warmup_t=warmup, warmup_prefix=True, t_in_epochs=False
    )
