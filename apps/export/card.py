"""The model card in Markdown: what a model is, how it is used, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.engine.inference.decode.kinds import kind_of
from apps.engine.reporting.markdown import markdown_table

UNKNOWN = {
    True: "`unknown` catches many such photos, not all.",
    False: "`unknown` is null: nothing was calibrated that would catch such photos.",
}
FACES = ("faces", "attributes")
SHOWN = 8  # classes of a head
DTYPES = {
    "uint8": "uint8 RGB", "float32": "float32 RGB, 0 to 255", "image": "an RGB image",
}


def card(values: Mapping[str, Any]) -> str:
    """The card of an exported model.

    Args:
        values: as :func:`apps.export.card_values.card_values` gives them.
    """
    model, heads, licence = values["model"], values["heads"], values["licence"]
    lines = [
        f"# {' + '.join(head['name'] for head in heads)}",
        "",
        f"One MobileNet backbone with {len(heads)} head{'s' * (len(heads) > 1)}, in "
        f"{model['precision']}, for {model['format']}: `{model['file']}`.",
        "",
        "## Use",
        "",
        f"- Input `{values['input']['name']}`: {DTYPES[values['input']['dtype']]}, "
        f"{_shape(values['input'])}. {_resize(values['input'])} Nothing else: normalisation is inside.",
        *(f"- Output `{part['name']}`: {part['meaning']}." for head in heads for part in head["outputs"]),
        f"- Backbone `{model['backbone']}` ({model['architecture']}), fingerprint `{model['fingerprint']}`; "
        f"{model['bytes']:,} bytes.",
        "- " + _parity(model),
        "",
        "## Licence and origin",
        "",
        f"- Licence of the backbone's weights: {licence['weights']}. Source: {licence['source']}.",
        "- The heads were trained by whoever made this file; the licence of their photos holds for them.",
    ]
    if model["format"] == "web" and all(head["app"] in FACES for head in heads):
        lines.append("- The page finds faces by the MTCNN networks that come with facenet-pytorch (MIT).")
    for head in heads:
        lines += ["", f"## {head['name']}", "", *_head(head)]
    written = ", ".join(f"{name} {number}" for name, number in values["versions"].items())
    return "\n".join([*lines, "", f"Written with {written}.", ""])


def _parity(model: Mapping[str, Any]) -> str:
    if model["difference"] is None:
        return (
            "Not computed where it was written, as Core ML runs on Apple's devices alone: compare it with "
            "`predict` of the run before you use it."
        )
    return f"Against the network as trained, outputs differ by {model['difference']:.2g} of their size."


def _shape(given: Mapping[str, Any]) -> str:
    number, *rest = given["shape"]
    shape = ", ".join(str(side) for side in ("N" if number is None else number, *rest))
    return f"({shape}), {'any number of photos' if number is None else 'one photo at a time'}"


def _resize(given: Mapping[str, Any]) -> str:
    side = given["side"]
    if given["resize"] == "squash":
        return f"Resize the whole photo to {side} x {side} px (bilinear, antialiased)."
    if given["resize"] == "pad":
        return (
            f"Resize the whole photo, the longer side to {side} px (bilinear, antialiased), "
            "and fill the square at the right or below with grey 128."
        )
    short = int(side / given["crop"])
    return f"Resize the short side to {short} px (bilinear, antialiased), then cut the middle."


def _head(head: Mapping[str, Any]) -> list[str]:
    kind = kind_of(head["kind"])
    lines = [
        f"Answers for `{head['app']}`: {_classes(head)}.", "",
        f"**Intended use.** {head['intended_use']}", "", *_reading(head),
        "**Data.** " + _data(head["data"]), "",
    ]
    figures = head["metrics"] | {
        f"{metric}/{group}": value for metric, by in head["groups"].items() for group, value in by.items()
    }
    if figures:
        rows = [(name, "undefined" if v is None else f"{v:.4g}") for name, v in figures.items()]
        lines += [*markdown_table(("figure of the run, on its validation photos", "value"), rows), ""]
    for name, drop in head["file_drop"].items():
        lines += [
            f"This file, on {head['file_metrics']['photos']:.0f} validation photos: {head['name']}/{name} "
            f"{head['file_metrics'][name]:.4f}, {drop:+.4f} below fp32.", "",
        ]
    if head["tta"] != "none":
        lines += [
            f"The run was evaluated with `--tta {head['tta']}`; this file sees one view of a photo, so "
            "it is a little worse, and its probabilities are a little off.", "",
        ]
    catches = UNKNOWN[head["unknown"] is not None] if kind.unknown else ""
    return [*lines, f"**Limits.** {head['limits']}{catches}"]


def _reading(head: Mapping[str, Any]) -> list[str]:
    """How its outputs become answers: temperature, thresholds, the rule for unknown, suppression."""
    parts: list[str] = []
    if head["temperature"] is not None:
        parts.append(
            f"Divide the logits by the temperature {head['temperature']:.4g} before the softmax; without it "
            "the probabilities are wrong."
        )
    rule = head["unknown"]
    if rule is not None:
        at = f" with T = {rule['temperature']:.4g}" if "temperature" in rule else ""
        parts.append(
            f"A photo is `unknown` where its {rule['score']}, {rule['formula']} of the logits z{at}, is "
            f"below {rule['threshold']:.4g}."
        )
    if head["thresholds"]:
        named = ", ".join(f"{name} {value:.4g}" for name, value in head["thresholds"].items())
        parts.append(f"Yes begins at these probabilities, elsewhere at 0.5: {named}.")
    if head["faces"]:
        parts.append("The thresholds of likeness are in the JSON card, under `faces`.")
    if head["suppression"] is not None:
        parts.append(_suppression(head))
    return [f"**Reading.** {' '.join(parts)}", ""] if parts else []


def _suppression(head: Mapping[str, Any]) -> str:
    values = dict(head["suppression"])
    inside = values.pop("inside")
    limits = ", ".join(f"{name} {value:g}" for name, value in values.items())
    where = "Boxes are suppressed in the graph" if inside else (
        "Boxes are decoded in the graph and suppressed by its reader, class by class, as `run.py` does"
    )
    return f"{where} ({limits}); answers have a score of {head['threshold']:g} or more."


def _classes(head: Mapping[str, Any]) -> str:
    names = head["classes"]
    if not names:
        return str(head["kind"])
    kind = kind_of(head["kind"]).classes or head["kind"]
    return f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return "Not recorded; for pretrained weights see their source."
    return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in data.items()) + "."
