"""The documents that tools for correcting labels open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apps.engine.core.files import write_text
from apps.engine.results.coco import coco_dataset
from apps.engine.results.images import Line
from apps.engine.results.label_studio import document_root, labelling_config, tasks

SERVE = "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"


def document(
    form: str, lines: Sequence[Line], classes: Sequence[str], model: str, label_config: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Any:
    """Lines of answers as one document; None where no image was answered for.

    Args:
        form: ``coco`` or ``label-studio``.
        lines: of ``predict`` or ``detect``; those of errors are left out.
        classes: of the model; where empty, those that were seen.
        model: what answered.
        label_config: file for Label Studio's labelling config.
        say: takes a line of words.

    Raises:
        OSError: the config cannot be written.
        ValueError: the form cannot hold such answers.
    """
    if all("error" in line for line in lines):
        return None
    if form == "coco":
        return coco_dataset(lines, classes, model)
    result = tasks(lines, model)
    if label_config is not None:
        parts = [part for line in lines for part in line.get("objects", line.get("predictions", ()))]
        names = list(classes) or sorted({part["name"] for part in parts})
        write_text(label_config, labelling_config(names, boxes=any("objects" in line for line in lines)))
    say(f"Label Studio finds the photos so: {SERVE}={document_root(lines)} label-studio start")
    return result
