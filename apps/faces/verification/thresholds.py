"""From which similarity on two faces are taken for one person, and how often that is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.engine.core.files import read_object, write_json
from apps.engine.core.run_values import CONFIG
from apps.faces.extraction.embedder import Align, ModelInfo
from backbone.schema import number, short
from datasets.outside import one_line

if TYPE_CHECKING:
    from apps.faces.verification.protocol import Operating

USUAL_FAR = 1e-3
FILE = Path(__file__).with_name("thresholds.json")


@dataclass(frozen=True)
class Threshold:
    """A least similarity.

    Args:
        similarity: cosine, -1 to 1.
        false_accept_rate: share of comparisons of two different people that reach it; None where unknown.
        source: on which faces that was measured.
    """

    similarity: float
    false_accept_rate: float | None
    source: str


def find_threshold(
    model: ModelInfo, align: str, *, far: float | None = None, threshold: float | None = None
) -> Threshold:
    """The threshold of a model at a rate of false accepts.

    Args:
        model: that made the vectors.
        align: how the faces were cut out.
        far: the rate, one of those measured; None for 1e-3.
        threshold: taken as it is, with no rate known.

    Raises:
        ValueError: both are given, the threshold is no cosine, or nothing was measured for this model.
    """
    if threshold is not None:
        if far is not None:
            raise ValueError("give either --far or --threshold")
        if not -1 <= threshold <= 1:
            raise ValueError(f"--threshold is a cosine, -1 to 1, got {threshold}")
        return Threshold(threshold, None, "given")
    measured = _measured(model, align)
    if not measured:
        raise ValueError(
            f"no rate of false accepts is known for model {model.fingerprint} ({model.name}, --align "
            f"{align}): give --threshold, such as one that `evaluate faces` measures on faces like yours"
        )
    wanted = USUAL_FAR if far is None else far
    for rate, similarity in measured["thresholds"].items():
        if abs(float(rate) - wanted) <= 1e-9:
            return Threshold(similarity, float(rate), measured["source"])
    raise ValueError(f"--far {wanted:g} was not measured; known: {', '.join(measured['thresholds'])}")


def _measured(model: ModelInfo, align: str) -> dict[str, Any]:
    """What is known of a model: from the run itself, or from the file beside this one."""
    if model.checkpoint is not None and (Path(model.checkpoint) / CONFIG).is_file():
        path = Path(model.checkpoint) / CONFIG
        with one_line(path, "restore it or measure again with `evaluate faces`", "is damaged"):
            faces = read_object(path).get("calibration", {}).get("faces", {}).get(align, {})
            return _checked(faces) if faces else {}
    known = json.loads(FILE.read_text(encoding="utf-8"))
    return dict(known.get(model.fingerprint, {}).get(align, {}))


def _checked(faces: dict[str, Any]) -> dict[str, Any]:
    """Thresholds by rate, of which all are cosines.

    Raises:
        ValueError: one is none.
    """
    cosine = number(-1, 1)
    for rate, similarity in faces["thresholds"].items():
        if not 0 < float(rate) <= 1 or not cosine.fits(similarity):
            raise ValueError(f"the threshold of {rate} must be {cosine.words}, got {short(similarity)}")
    return {"source": str(faces["source"]), "thresholds": dict(faces["thresholds"])}


def write_thresholds(run: Path, align: Align, points: Sequence[Operating], source: str) -> None:
    """Put measured thresholds into a run's configuration, in place of those of the same alignment.

    Args:
        run: the folder of a finished run.
        align: how the faces were cut out.
        points: the thresholds by rate.
        source: on which faces they were measured.

    Raises:
        OSError: the configuration cannot be written.
    """
    from apps.faces.verification.protocol import far_name  # takes a second, which no search has

    config = read_object(run / CONFIG)
    faces = config.setdefault("calibration", {}).setdefault("faces", {})
    faces[align] = {"source": source, "thresholds": {far_name(p.far): p.threshold for p in points}}
    write_json(run / CONFIG, config)
