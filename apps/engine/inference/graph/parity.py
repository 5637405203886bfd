"""Is the written model the trained one: the greatest distance between their outputs."""

from __future__ import annotations

import numpy as np

from apps.engine.inference.graph.model import Plan
from apps.engine.inference.model_file import ModelFile

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # greatest distance over the greatest output
BATCHES = (1, 3)


def parity(plan: Plan, model: ModelFile) -> float:
    """How far the file's outputs are from the trained network's, over the greatest of them.

    Scores of boxes are held against 1: where nothing is found all of them are small.

    Raises:
        ValueError: further than is right for the precision.
    """
    reference, worst = plan.reference(), 0.0
    least = {name: 1.0 for head in plan.spec.heads if head.kind == "boxes" for name in head.outputs}
    for batch in BATCHES:
        images = plan.example(batch, seed=batch)
        outputs = zip(plan.spec.outputs, model.run(images.numpy()), reference(images), strict=True)
        for name, got, wanted in outputs:
            scale = max(float(wanted.abs().max()), least.get(name, 1e-6))
            worst = max(worst, float(np.abs(got - wanted.numpy()).max()) / scale)
    most = TOLERANCE.get(plan.spec.precision)
    if most is not None and not worst <= most:
        raise ValueError(
            f"the exported model's outputs are off by {worst:.2g} of their size, more than {most:g} for "
            f"{plan.spec.precision}; nothing was written: export with another --precision or --opset"
        )
    return worst
