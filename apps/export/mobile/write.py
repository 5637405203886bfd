"""A plan as a file for phones: written, read back, held against the network, measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from apps.engine.core.files import write_bytes
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.graph.parity import parity
from apps.engine.inference.mobile.files import mobile_engine
from apps.engine.inference.mobile.note import with_note
from apps.export.accuracy import measured
from apps.export.mobile.coreml import NOT_RUN, write_coreml
from apps.export.mobile.executorch import executorch_model
from apps.export.mobile.tflite import quantised_tflite, tflite_model
from apps.export.targets import Written

MAKERS: dict[str, Callable[[Plan], bytes]] = {"tflite": tflite_model, "executorch": executorch_model}


class Job(Protocol):
    """What a file is written with; as :func:`apps.export.export.export` is called."""

    @property
    def out(self) -> Path:
        """The file."""

    @property
    def to(self) -> str:
        """Its format."""

    @property
    def photos(self) -> list[Path]:
        """For the ranges of int8."""

    @property
    def validate(self) -> Path | None:
        """Labelled photos."""

    @property
    def max_drop(self) -> float:
        """The greatest loss of accuracy."""

    @property
    def say(self) -> Callable[[str], None]:
        """Takes a line."""


def write_mobile(made: Plan, job: Job) -> Written:
    """Write the file; what it says of itself lies behind its bytes, in a Core ML package in its metadata.

    Raises:
        ImportError: the format's library is not installed.
        OSError: the file cannot be written.
        ValueError: the network cannot be written so, answers otherwise, or loses too much accuracy.
    """
    if job.to == "coreml":
        package = write_coreml(made, job.out)
        job.say(NOT_RUN)
        return Written([path for path in package.rglob("*") if path.is_file()], None)
    plain = replace(made, spec=replace(made.spec, precision="fp32"))
    content = MAKERS[job.to](plain)
    reference = model = mobile_engine(plain.spec, content, job.out)
    difference = parity(plain, reference)
    if made.spec.precision == "int8":
        content = quantised_tflite(content, reference, job.photos, job.say)
        model = mobile_engine(made.spec, content, job.out)
        difference = parity(made, model)
    figures: dict[str, Any] = measured(made, reference, model, job.validate, job.max_drop, job.say)
    return Written([write_bytes(job.out, with_note(content, made.spec.to_json()))], difference, figures)
