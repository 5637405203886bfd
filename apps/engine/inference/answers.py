"""A trained network's output as answers: the same decoders that read an exported file's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from apps.engine.core.run_dir import RunConfig
from apps.engine.core.spec import HeadSpec
from apps.engine.core.task import AnyTask
from apps.engine.inference.decode import Outputs, decode
from apps.engine.inference.predictions import Prediction


def answers(
    task: AnyTask, head: Any, output: Any, config: RunConfig, sizes: Sequence[tuple[int, int]], *,
    top: int = 5,
) -> list[Prediction]:
    """One answer an image of a batch.

    Args:
        task: the application with its settings.
        head: that gave the output.
        output: as the head gives it, images first.
        config: of the run.
        sizes: (width, height) of the images in pixels.
        top: how many classes, cells or objects an image.
    """
    spec = task.head_spec(head, config)
    return decode(spec, arrays(spec, task.postprocess(head, output)), sizes, top=top)


def arrays(spec: HeadSpec, kept: Any) -> Outputs:
    """What ``postprocess`` keeps of a batch as arrays in the order of the spec's outputs."""
    if isinstance(kept, Tensor):
        return [kept.numpy()]
    if isinstance(kept, dict):
        return [kept[name].numpy() for name in spec.outputs]
    return [[part.numpy() for part in column] for column in zip(*kept, strict=True)]
