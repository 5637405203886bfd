"""What a model card says, as plain values: docs/schemas/model-card.schema.json describes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.engine.core.files import defined
from apps.engine.core.spec import INPUT, HeadSpec, ModelSpec
from apps.engine.inference.decode.kinds import kind_of

CARD = "mobilenet-apps/model-card/1"
SUPPRESSION = ("score_thresh", "nms_thresh", "topk_candidates", "detections_per_img")
RULES = {  # scores of a photo, of its logits z at the temperature T, by the name in a rule
    "energy": "T * log(sum(exp(z / T)))", "max_logit": "max(z)", "max_softmax": "max(softmax(z / T))",
    "known_share": "1 - softmax(z / T)[-1], of all outputs; the last is that of everything else",
}
OUTPUTS = {  # what the outputs of a kind mean, in their order
    "classes": ("logits: divide by the temperature, then softmax",),
    "attributes": (
        "logits, a column a yes/no attribute, of which sigmoid is the probability; then a block a group",
    ),
    "cells": (
        "log-probabilities of the finest cells: divide by the temperature, then softmax",
        "offset east and north from the best cell's middle, in radii of the cell",
    ),
    "embedding": ("a vector of length 1: the cosine of two is their likeness",),
    "detections": (
        "boxes (x1, y1, x2, y2) in pixels of the input", "scores, 0 to 1",
        "labels, places in the list of classes",
    ),
}
UNSUPPRESSED = {1: "scores of all classes, 0 to 1; a reader leaves out boxes that better ones cover"}
DTYPES = {"coreml": "image", "executorch": "float32"}


def card_values(spec: ModelSpec, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The card of an exported model.

    Args:
        spec: of the model.
        answer: what ``export`` answers: file, size, parity, figures.
    """
    backbone = spec.backbone
    values: dict[str, Any] = {
        "card": CARD,
        "model": {
            "file": Path(answer["out"]).name, "format": answer["to"], "precision": spec.precision,
            "bytes": answer["bytes"], "fingerprint": spec.fingerprint, "backbone": backbone["name"],
            "architecture": backbone["arch"], "checkpoint": spec.checkpoint or None,
            "difference": answer["difference"],
        },
        "input": _input(spec, answer["to"]),
        "heads": [_head(head, answer) for head in spec.heads],
        "licence": {
            "weights": backbone["licence"], "source": backbone["source"],
            "heads": "that of the photos that they were trained on, of whoever made this file",
        },
        "versions": dict(spec.versions),
    }
    plain: dict[str, Any] = defined(values)
    return plain


def _input(spec: ModelSpec, to: str) -> dict[str, Any]:
    side = spec.resolution
    shape = [side, side, 3] if spec.layout == "nhwc" else [3, side, side]
    return {
        "name": INPUT, "dtype": DTYPES.get(to, "uint8"), "layout": spec.layout, "colours": "rgb",
        "shape": [1 if to in ("tflite", "coreml", "executorch") else None, *shape], "range": [0, 255],
        "resize": spec.resize, "side": side, "crop": spec.crop, "normalisation": "inside",
    }


def _head(head: HeadSpec, answer: Mapping[str, Any]) -> dict[str, Any]:
    kind, calibration = kind_of(head.kind), head.calibration
    rule = calibration.get("unknown")
    temperature = calibration.get("temperature")
    return {
        "name": head.name, "app": head.app, "kind": head.kind, "classes": list(head.classes),
        "outputs": _outputs(head, answer["to"]), "temperature": temperature,
        "thresholds": calibration.get("thresholds") or None, "threshold": head.extra.get("threshold"),
        "unknown": dict(rule) | {"formula": RULES.get(str(rule.get("score")))} if rule else None,
        "faces": calibration.get("faces") or None, "suppression": _suppression(head),
        "data": dict(head.data),
        "metrics": {name: value for name, value in head.metrics.items() if "/" not in name},
        "groups": _groups(head.metrics), "file_metrics": _of_file(head.name, answer.get("figures", {})),
        "file_drop": _of_file(head.name, answer.get("drop", {})), "tta": head.extra.get("tta", "none"),
        "intended_use": kind.use, "limits": kind.limits,
    }


def _outputs(head: HeadSpec, to: str) -> list[dict[str, str]]:
    names, meanings = list(head.outputs), list(OUTPUTS.get(head.kind, ()))
    if head.extra.get("unsuppressed"):
        names, meanings[1] = names[:2], UNSUPPRESSED[1]
    meanings += ["see the kind of head"] * len(names)
    return [
        {"name": name.replace("/", "_") if to == "coreml" else name, "meaning": words}
        for name, words in zip(names, meanings, strict=False)
    ]


def _suppression(head: HeadSpec) -> dict[str, Any] | None:
    if not kind_of(head.kind).boxes:
        return None
    inside = not head.extra.get("unsuppressed", False)
    return {"inside": inside, **{name: head.extra[name] for name in SUPPRESSION if name in head.extra}}


def _groups(metrics: Mapping[str, float | None]) -> dict[str, dict[str, float | None]]:
    """Figures of parts of the photos or of single classes, such as ``ap/NAME``, by metric."""
    groups: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        metric, _, group = name.partition("/")
        if group:
            groups.setdefault(metric, {})[group] = value
    return groups


def _of_file(name: str, figures: Mapping[str, float]) -> dict[str, float]:
    """What was measured with the file itself for a head."""
    return {key.partition("/")[2]: value for key, value in figures.items() if key.startswith(f"{name}/")}
