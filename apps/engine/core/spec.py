"""What an exported model says of itself: its input, and for each head what the outputs mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from apps.engine.core.files import json_line
from apps.engine.core.run_values import check_calibration
from backbone.schema import (
    LARGEST_PX,
    TABLE,
    TEXT,
    TEXTS,
    Rule,
    checked,
    checked_some,
    choice,
    number,
    parse_json,
    words_of,
)

if TYPE_CHECKING:
    from apps.engine.core.run_dir import RunConfig

KEY = "mobilenet_apps"  # of the model's metadata
VERSION = 1
LAYOUTS = ("nhwc", "nchw")
RESIZES = ("crop", "squash", "pad")
FACE_APPS = ("faces", "attributes")  # whose images are searched for faces
INPUT = "images"
_SUM = re.compile(r"([0-9a-f]{64})?")
UNSUPPRESSED = "boxes"  # kind of detectors before suppression was in the graph


OUTPUTS = Rule(lambda value: TEXTS.fits(value) and 0 < len(value) == len(set(value)), "a list of names")
HEAD: dict[str, Rule] = {
    "name": TEXT, "app": TEXT, "kind": TEXT, "outputs": OUTPUTS, "classes": TEXTS, "calibration": TABLE,
    "metrics": TABLE, "data": TABLE, "extra": TABLE,
}
EXTRA: dict[str, Rule] = {
    "threshold": number(-1e6, 1e6), "size": number(1, LARGEST_PX, whole=True), "resize": choice(*RESIZES),
    "tta": TEXT, "model": TABLE,
    "breeds": Rule(lambda value: value is None or isinstance(value, Mapping), "a table"),
}
MODEL: dict[str, Rule] = {
    "fingerprint": TEXT, "resolution": number(32, LARGEST_PX, whole=True), "crop": number(0.05, 1),
    "layout": choice(*LAYOUTS), "precision": TEXT,
    "heads": Rule(lambda value: isinstance(value, list) and bool(value), "a list of heads"),
    "backbone": TABLE, "versions": TABLE, "resize": choice(*RESIZES),
    "checkpoint": Rule(lambda value: isinstance(value, str) and bool(_SUM.fullmatch(value)), "a SHA-256"),
}


@dataclass(frozen=True)
class HeadSpec:
    """One head of a model.

    Args:
        name: of the head, and the first part of its outputs' names.
        app: the application that it answers for.
        kind: how its outputs are read, a name in ``apps/engine/inference/decode/kinds.py``.
        outputs: names of its outputs in the graph.
        classes: names, in the order of the outputs.
        calibration: temperature, thresholds, rule for the unknown.
        metrics: of the run, on its validation images.
        data: what it learned from, in words and counts.
        extra: what else its kind needs, plain types only.
    """

    name: str
    app: str
    kind: str
    outputs: tuple[str, ...]
    classes: tuple[str, ...] = ()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, config: RunConfig, outputs: tuple[str, ...], **extra: Any) -> HeadSpec:
        """The head of a run, named after its application."""
        if config.backbone.preprocessing.resize != RESIZES[0]:
            extra = {"resize": config.backbone.preprocessing.resize, **extra}
        extra = {**extra, "tta": config.settings.get("tta", "none")}
        return cls(
            config.app, config.app, kind, outputs, config.classes, config.calibration, config.metrics,
            config.data, extra,
        )

    @property
    def of_faces(self) -> bool:
        """Whether its images are searched for faces."""
        return self.app in FACE_APPS

    def named(self, name: str) -> HeadSpec:
        """The head under another name, which its outputs' names begin with."""
        parts = self.outputs if len(self.outputs) > 1 else ("",)
        outputs = tuple("/".join(filter(None, (name, part.split("/")[-1]))) for part in parts)
        return replace(self, name=name, outputs=outputs)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadSpec:
        """The inverse of ``asdict``.

        Raises:
            ValueError: a value is of another type, out of bounds, or not known.
        """
        plain = checked(values, HEAD, "a head", needed=("name", "app", "kind", "outputs"))
        check_calibration(plain.get("calibration", {}))
        checked_some(plain.get("extra", {}), EXTRA, "what a head says of its kind")
        values = {"classes": (), **plain}
        return cls(**{**values, "outputs": tuple(values["outputs"]), "classes": tuple(values["classes"])})


@dataclass(frozen=True)
class ModelSpec:
    """A whole model.

    Args:
        fingerprint: of the backbone that all heads share.
        resolution: side of the input in pixels.
        crop: share of the resized short side that the central crop keeps, (0, 1].
        layout: of the uint8 RGB input: ``nhwc`` or ``nchw``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        backbone: name, architecture, arguments, source and licence.
        heads: what it answers.
        versions: of the libraries that wrote it.
        resize: how an image comes onto the square: ``crop`` cuts its middle, ``squash`` forgets its shape,
            ``pad`` keeps it and fills the square at the right and below.
        checkpoint: SHA-256 of the weights of the run that it was made from; empty for several runs or none.
    """

    fingerprint: str
    resolution: int
    crop: float
    layout: str
    precision: str
    backbone: Mapping[str, Any]
    heads: tuple[HeadSpec, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    resize: str = RESIZES[0]
    checkpoint: str = ""

    def to_json(self) -> str:
        """As it is kept in the file."""
        return json_line(asdict(self) | {"version": VERSION})

    @classmethod
    def from_json(cls, text: str, path: object) -> ModelSpec:
        """The inverse of :meth:`to_json`.

        Args:
            text: what the file holds.
            path: of the file, for messages.

        Raises:
            ValueError: it was written by another version, or is damaged.
        """
        try:
            values = parse_json(text, "its description")
            version = values.pop("version")
            heads: tuple[HeadSpec, ...] = ()
            spec = None
            if version == VERSION:
                plain = checked(values, MODEL, "its description", needed=tuple(MODEL)[:6])
                heads = tuple(map(HeadSpec.from_dict, plain["heads"]))
                spec = cls(**{**plain, "heads": heads})
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ValueError(
                f"{path}: what it says of itself is damaged ({words_of(err)}); export it again"
            ) from err
        if spec is None:
            raise ValueError(
                f"{path} was exported by another version of this program (format {version}, not {VERSION}); "
                "export it again"
            )
        if any(head.kind == UNSUPPRESSED for head in heads):
            raise ValueError(
                f"{path} was exported by an earlier version of this program, which left overlapping boxes to "
                "its readers; export it again"
            )
        return spec

    @property
    def of_faces(self) -> bool:
        """Whether all heads answer for faces, so that the page looks for some first."""
        return all(head.of_faces for head in self.heads)

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs, in the order of the graph."""
        return tuple(name for head in self.heads for name in head.outputs)
