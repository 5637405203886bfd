"""A detector for new classes that starts from a trained one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from apps.engine.core.model import pretrained_ssd
from backbone import Weights
from heads import SSD


@torch.no_grad()
def start_ssd(head: SSD, classes: Sequence[str], weights: Weights, *, freeze_bn_stats: bool = True) -> str:
    """Put the SSD of weights into a new one: added layers, boxes, background, and classes of the same name.

    Args:
        head: a new SSD.
        classes: of the new one, in the order of its labels.
        weights: that bring an SSD.
        freeze_bn_stats: keep the statistics of its batch-norm, which files that are folded bring as identity.

    Returns:
        A sentence on what was taken.

    Raises:
        ValueError: the weights' SSD is another one.
    """
    state, known = head.state_dict(), list(weights.info.head["classes"])
    head.freeze_bn_stats = freeze_bn_stats
    channels = {
        stride: state[f"classification.{number}.weight"].shape[1] for number, stride in enumerate(SSD.strides)
    }
    source = pretrained_ssd(weights, channels).state_dict()
    shared = [(new, known.index(name)) for new, name in enumerate(classes) if name in known]
    into, out_of = [0, *(new + 1 for new, _ in shared)], [0, *(old + 1 for _, old in shared)]
    for key, value in source.items():
        if key.startswith("classification."):
            rows = state[key].unflatten(0, (-1, len(classes) + 1))
            rows[:, into] = value.unflatten(0, (-1, len(known) + 1))[:, out_of]
        else:
            state[key].copy_(value)
    name = weights.info.name
    return f"the detector starts from that of {name}, which knows {len(shared)} of the {len(classes)} classes"
