"""How deep a parameter lies in the backbone; learning rates by depth, and thawing from the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import group_parameters
from torch import nn

from backbone import Backbone

Layers = tuple[tuple[str, ...], ...]


def backbone_layers(backbone: nn.Module, *, coarse: bool = False) -> Layers:
    """The parameters' names layer by layer, from the image upwards; every parameter is in one layer.

    Where the network (or the timm network inside it) has timm's ``group_matcher``, that decides. Else a
    layer is a numbered block (``blocks.2.1``, ``layer3.0``), or a top-level child where nothing is numbered;
    what has no filters of its own (a norm, a token) belongs to its neighbour. MobileNetV1 has 14: the stem
    and 13 separable blocks.

    Args:
        backbone: any network; its parameters must be listed in the order in which they are used.
        coarse: stages instead of blocks: MobileNetV1 has 6, the stem and 5 by resolution.

    Raises:
        ValueError: the network has no parameters.
    """
    named = dict(backbone.named_parameters())
    if not named:
        raise ValueError(f"{type(backbone).__name__} has no parameters, so it has no layers")
    owner = _with_matcher(backbone, len(named))
    if owner is not None:
        prefix, network = owner
        mapped = group_parameters(network, network.group_matcher(coarse=coarse), reverse=True)
        depths = sorted(set(mapped.values()))
        return tuple(tuple(prefix + n for n in mapped if mapped[n] == depth) for depth in depths)
    return _by_name(named, coarse)


def _with_matcher(backbone: nn.Module, count: int) -> tuple[str, Any] | None:
    """The module that holds all parameters and knows their order, and its name as a prefix."""
    for name, module in backbone.named_modules():
        if hasattr(module, "group_matcher") and sum(1 for _ in module.parameters()) == count:
            return (f"{name}." if name else ""), module
    return None


def _by_name(named: dict[str, nn.Parameter], coarse: bool) -> Layers:
    wrapped = 0  # names of modules around everything, such as TimmBackbone's net
    while len({tuple(name.split(".")[: wrapped + 1]) for name in named}) == 1 < len(named):
        wrapped += 1
    layers: dict[str, list[str]] = {}
    for name in named:
        layers.setdefault(_block(name.split(".")[wrapped:], coarse), []).append(name)
    merged: list[list[str]] = []
    waiting: list[str] = []
    for members in layers.values():
        filters = any(named[name].ndim > 1 and "." in name for name in members)
        if filters:
            merged.append(waiting + members)
            waiting = []
        elif merged:
            merged[-1] += members
        else:
            waiting += members
    return tuple(tuple(item) for item in [*merged, waiting] if item)


def _block(parts: Sequence[str], coarse: bool) -> str:
    """``blocks.2.1`` of ``blocks.2.1.conv_dw.weight``; ``blocks.2`` when coarse."""
    digits = [n for n, part in enumerate(parts) if part.isdigit()]
    if not digits:
        return parts[0]
    end = digits[0] + 1
    if coarse:
        return parts[0] if parts[0][-1].isdigit() else ".".join(parts[:end])
    while end < len(parts) and parts[end].isdigit():
        end += 1
    return ".".join(parts[:end])


def learning_layers(backbone: nn.Module, *, coarse: bool = False) -> Layers:
    """The layers without those that are retired (``Backbone.retire``), which lie below no head."""
    unused: frozenset[str] = getattr(backbone, "unused_parameters", frozenset())
    return tuple(layer for layer in backbone_layers(backbone, coarse=coarse) if not unused.issuperset(layer))


def unfrozen_at(epoch: int, *, every: int, stages: Layers) -> Layers:
    """The stages that learn in an epoch: none at first, then one more from the top each ``every`` epochs.

    A function of the epoch alone, so a resumed run thaws as an uninterrupted one.

    Args:
        epoch: from 0.
        every: epochs between two thaws, 1 or more.
        stages: of the backbone, from the image upwards; see :func:`backbone_layers`.

    Returns:
        The learning stages, from the image upwards: empty means that the heads learn alone.

    Raises:
        ValueError: ``every`` is below 1, or ``epoch`` is negative.

    Source:
        Howard and Ruder 2018, arXiv:1801.06146, section 3.3 (there with ``every`` = 1).
    """
    if every < 1 or epoch < 0:
        raise ValueError(f"thawing needs an epoch of 0 or more and every >= 1, got {epoch} and {every}")
    return stages[max(len(stages) - epoch // every, 0) :]


def apply_unfreezing(backbone: nn.Module, learning: Layers) -> None:
    """Let the named parameters learn and keep the others as they are, batch-norm statistics and all.

    Call it at the start of each epoch and **after** every ``model.train()``, which would wake the frozen
    stages' batch-norm. Make the optimizer before the first call, of all parameters: it leaves alone those
    without a gradient. DistributedDataParallel must be made anew when the set changes.

    Args:
        backbone: it is put into training mode, and what is frozen into evaluation mode.
        learning: what :func:`unfrozen_at` gave.

    Raises:
        ValueError: a name is not one of the backbone's parameters.
    """
    wanted = {name for stage in learning for name in stage}
    named = dict(backbone.named_parameters())
    unknown = sorted(wanted - named.keys())
    if unknown:
        raise ValueError(
            f"{type(backbone).__name__} has no parameter {unknown[0]!r}; take the names from backbone_layers"
        )
    wanted -= getattr(backbone, "unused_parameters", frozenset())
    for name, parameter in named.items():
        parameter.requires_grad_(name in wanted)
        if name not in wanted:
            parameter.grad = None  # of the epoch before; it would move the weight once more
    if isinstance(backbone, Backbone):
        backbone.frozen = not wanted
    backbone.train()
    for module in backbone.modules():
        members = list(module.parameters())
        if members and not any(member.requires_grad for member in members):
            module.eval()
