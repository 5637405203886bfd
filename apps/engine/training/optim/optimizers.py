"""Which weights learn how fast, which decay, and by which rule."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.scheduler import CosineLRScheduler
from torch import nn

from apps.engine.training.optim.layer_decay import learning_layers

PAPER_EPS = 1.0  # of the paper's RMSprop; its decay and momentum of 0.9 are timm's own for rmsproptf
ON_GPU_ONLY = ("apex", "bitsandbytes")
BACKBONE = "backbone."


def decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether a weight decays: no bias, no norm, no depthwise filter.

    Source: Howard et al. 2017, section 3.1: little or no weight decay on the depthwise filters,
    since there are so few parameters in them.
    """
    owner = module.get_submodule(name.rpartition(".")[0])
    depthwise = isinstance(owner, nn.Conv2d) and owner.groups == owner.in_channels > 1
    return parameter.ndim > 1 and not depthwise


def parameter_groups(
    model: nn.Module, *, lr: float, backbone_lr: float, weight_decay: float, layer_decay: float = 1.0,
    stages: Sequence[Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Heads and backbone, each with and without decay; by depth too where ``layer_decay`` is below 1.

    The rate of a layer of the backbone is ``lr * backbone_lr * layer_decay ** n``, with n = 1 for the
    last layer below the heads, 2 for the one before it and so on: BEiT's and timm's rule.

    Args:
        model: with parameters named ``backbone.*`` and others.
        lr: rate of the others.
        backbone_lr: the backbone's rate as a share of ``lr``; 0 leaves it as it is.
        weight_decay: for the weights of :func:`decays`.
        layer_decay: rate of a layer as a share of that of the layer above, (0, 1].
        stages: the backbone's parameters or modules by depth, from the image upwards, named without
            ``backbone.``; by default those of :func:`apps.engine.training.optim.layer_decay.learning_layers`.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay`` and ``name``.

    Raises:
        ValueError: ``layer_decay`` is out of range, or ``stages`` leaves a parameter out.

    Source:
        Bao et al. 2022, arXiv:2106.08254 (layer-wise decay).
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"--layer-decay must be above 0 and at most 1, got {layer_decay}")
    depths = _depths(model, stages) if layer_decay < 1 else None
    groups: dict[tuple[bool, int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        inside = name.startswith(BACKBONE)
        if not parameter.requires_grad or (inside and backbone_lr == 0):
            continue
        below = depths[name.removeprefix(BACKBONE)] if inside and depths else 0
        decayed = decays(model, name, parameter)
        group = groups.setdefault((inside, below, decayed), {
            "params": [], "lr": lr * (backbone_lr if inside else 1.0) * layer_decay**below,
            "weight_decay": weight_decay if decayed else 0.0,
            "name": _group_name(inside, below, decayed),
        })
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _group_name(inside: bool, below: int, decayed: bool) -> str:
    where = ("backbone" + (f", {below} below the heads" if below else "")) if inside else "heads"
    return where + ("" if decayed else ", no decay")


def _depths(model: nn.Module, stages: Sequence[Sequence[str]] | None) -> dict[str, int]:
    """Of each parameter of the backbone: how many layers below the heads, from 1."""
    backbone: nn.Module = model.get_submodule(BACKBONE.rstrip("."))
    layers = learning_layers(backbone) if stages is None else stages
    depths: dict[str, int] = {}
    for name, _ in backbone.named_parameters():
        if name in getattr(backbone, "unused_parameters", ()):
            continue
        owners = {name[:end] for end in range(len(name) + 1) if name[end : end + 1] in ("", ".")}
        places = [n for n, layer in enumerate(layers) if not owners.isdisjoint(layer)]
        if len(places) != 1:
            raise ValueError(f"{name!r} must be in one of `stages`, but is in {len(places)} of them")
        depths[name] = len(layers) - places[0]
    return depths


def make_optimizer(
    groups: list[dict[str, Any]], *, name: str = "adamw", momentum: float = 0.9, **options: Any
) -> torch.optim.Optimizer:
    """Any optimizer of timm's by name, with a fused kernel where torch has one.

    ``rmsproptf`` is the paper's RMSprop (TensorFlow's rule, decay 0.9, momentum 0.9, epsilon 1.0);
    ``rmsprop`` is PyTorch's. ``sgd`` has Nesterov momentum, ``momentum`` the classical one. Weight decay is
    decoupled in the names that end in w; in sgd, adam and rmsprop it is an L2 term, where the usual values
    are a thousandth of AdamW's. ``lookahead_`` before a name wraps it.

    Args:
        groups: what :func:`parameter_groups` gave.
        name: as in ``timm.optim.list_optimizers()``, in any case of letters.
        momentum: where the rule has one, [0, 1).
        options: of the rule, such as ``eps`` or ``betas``; its own by default.

    Raises:
        ValueError: there is no such optimizer, it does not run here, or there is nothing to learn.
    """
    if not any(group["params"] for group in groups):
        raise ValueError("nothing is left to learn: every parameter is frozen or has a rate of 0")
    rule = _find(name.lower().removeprefix("lookahead_"), name)
    if "fused" in inspect.signature(rule.opt_class).parameters:
        options = {"fused": True} | options
    if rule.name.startswith("rmsproptf"):
        options = {"eps": PAPER_EPS} | options
    # A rule that is given no rate may choose its own and leave those of the groups aside (Adafactor).
    lr = max(group["lr"] for group in groups)
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        groups, opt=name.lower(), lr=lr, momentum=momentum, **options
    )
    for part in (optimizer, getattr(optimizer, "_base_optimizer", optimizer)):  # the second of a Lookahead
        _leave_uncompiled(part)
    return optimizer


def _leave_uncompiled(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer compute in PyTorch's own kernels where it has compiled its functions (Kron).

    Compiled, each shape of weight costs seconds and a C++ compiler; which code then runs depends on
    processor, threads and what was compiled before, and a resumed training need not get the same.
    """
    for name, function in list(vars(optimizer).items()):
        if inspect.isfunction(function):
            setattr(optimizer, name, inspect.unwrap(function))


def check_optimizer(name: str) -> None:
    """Raise ValueError unless :func:`make_optimizer` knows the name and can run it here."""
    _find(name.lower().removeprefix("lookahead_"), name)


def _find(key: str, given: str) -> Any:
    known = list_optimizers()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.optim.list_optimizers() names them"
        raise ValueError(f"there is no optimizer {given!r}; {hint}")
    rule = get_optimizer_info(key)
    package = str(rule.opt_class).partition(".")[0]
    if package in ON_GPU_ONLY:
        raise ValueError(f"optimizer {given!r} needs a GPU and the package {package}; take adamw or sgd")
    if rule.second_order:
        raise ValueError(f"optimizer {given!r} needs second derivatives, which are not kept here; take adamw")
    return rule


def cosine(optimizer: torch.optim.Optimizer, *, steps: int, warmup: int) -> CosineLRScheduler:
    """Half a cosine over ``steps`` updates after ``warmup`` linear ones; a function of the step alone."""
    warmup = min(warmup, max(steps - 1, 0))
    return CosineLRScheduler(
        optimizer, t_initial=max(steps - warmup, 2), warmup_t=warmup, warmup_prefix=True, t_in_epochs=False
    )
