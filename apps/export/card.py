"""The model card: what a model is, what it was trained on, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.decode.kinds import kind_of
from apps.engine.reporting.markdown import markdown_table

UNKNOWN = {
    True: "`unknown` catches many such photos, not all.",
    False: "`unknown` is null: nothing was calibrated that would catch such photos.",
}


def card(spec: ModelSpec, answer: Mapping[str, Any]) -> str:
    """The card of an exported model in Markdown.

    Args:
        spec: of the model.
        answer: what ``export`` answers: file, size, parity, figures.
    """
    backbone = spec.backbone
    lines = [
        f"# {' + '.join(head.name for head in spec.heads)}",
        "",
        f"One MobileNet backbone with {len(spec.heads)} head{'s' * (len(spec.heads) > 1)}, in "
        f"{spec.precision}, for {answer['to']}.",
        "",
        "## Use",
        "",
        f"- Input `images`: uint8 RGB, {_shape(spec)}, any number of photos. {_resize(spec)} Nothing else: "
        "normalisation is inside.",
        *(f"- Output `{name}`" for name in spec.outputs),
        f"- Backbone `{backbone['name']}` ({backbone['arch']}), fingerprint `{spec.fingerprint}`; "
        f"{answer['bytes']:,} bytes.",
        f"- Against the network as trained, outputs differ by {answer['difference']:.2g} of their size.",
        "",
        "## Licence and origin",
        "",
        f"- Licence of the backbone's weights: {backbone['licence']}. Source: {backbone['source']}.",
        "- The heads were trained by whoever made this file; the licence of their photos holds for them.",
    ]
    if answer["to"] == "web" and spec.of_faces:
        lines.append("- The page finds faces by the MTCNN networks that come with facenet-pytorch (MIT).")
    for head in spec.heads:
        lines += ["", f"## {head.name}", "", *_head(head, answer)]
    return "\n".join([*lines, "", f"Written with {_versions(spec)}.", ""])


def _shape(spec: ModelSpec) -> str:
    side = spec.resolution
    return f"(N, {side}, {side}, 3)" if spec.layout == "nhwc" else f"(N, 3, {side}, {side})"


def _resize(spec: ModelSpec) -> str:
    if spec.resize == "squash":
        return f"Resize the whole photo to {spec.resolution} x {spec.resolution} px (bilinear, antialiased)."
    if spec.resize == "pad":
        return (
            f"Resize the whole photo, the longer side to {spec.resolution} px (bilinear, antialiased), "
            "and fill the square at the right or below with grey 128."
        )
    side = int(spec.resolution / spec.crop)
    return f"Resize the short side to {side} px (bilinear, antialiased), then cut the middle."


def _head(head: HeadSpec, answer: Mapping[str, Any]) -> list[str]:
    lines = [f"Answers for `{head.app}`: {_classes(head)}.", "", "**Data.** " + _data(head), ""]
    if head.metrics:
        rows = [(name, "undefined" if v is None else f"{v:.4g}") for name, v in head.metrics.items()]
        lines += [*markdown_table(("figure of the run, on its validation photos", "value"), rows), ""]
    figures, custom = answer.get("figures", {}), f"{head.name}/"
    mine = {name: value for name, value in figures.items() if name.startswith(custom)}
    for name, value in mine.items():
        if name in answer["drop"]:
            photos = mine[f"{head.name}/photos"]
            lines += [
                f"This file, on {photos:.0f} validation photos: {name} {value:.4f}, "
                f"{answer['drop'][name]:+.4f} below fp32.", "",
            ]
    if head.extra.get("tta", "none") != "none":
        lines += [
            f"The run was evaluated with `--tta {head.extra['tta']}`; this file sees one view of a photo, so "
            "it is a little worse, and its probabilities are a little off.", "",
        ]
    kind = kind_of(head.kind)
    catches = UNKNOWN["unknown" in head.calibration] if kind.unknown else ""
    return [*lines, f"**Limits.** {kind.limits}{catches}"]


def _classes(head: HeadSpec) -> str:
    if not head.classes:
        return head.kind
    shown = ", ".join(head.classes[:8])
    kind = kind_of(head.kind).classes or head.kind
    return f"{len(head.classes)} {kind}: {shown}{', ...' if len(head.classes) > 8 else ''}"


def _data(head: HeadSpec) -> str:
    if not head.data:
        return "Not recorded; for pretrained weights see their source."
    return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in head.data.items()) + "."


def _versions(spec: ModelSpec) -> str:
    return ", ".join(f"{name} {number}" for name, number in spec.versions.items())
