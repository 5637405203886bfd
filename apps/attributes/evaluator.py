"""What answers about attributes are worth: average precision, balanced accuracy, calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.binary import average_precision, balanced_accuracy, best_threshold
from apps.engine.evaluation.classification import reliability

Floats = NDArray[np.float64]

DRAWS = 400
INTERVAL = (2.5, 97.5)
HALVES = 2  # thresholds are evaluated on people that they were not chosen on


@dataclass(frozen=True)
class AttributeEvaluation:
    """Answers with the truth beside them.

    Args:
        probabilities: (N, A), [0, 1].
        labels: (N, A), 0, 1 or NaN for unknown.
        names: of the A attributes.
        paths: N files.
        thresholds: name -> threshold chosen on validation.
        values: name of a group -> (expected, true) classes, (N,) each; NaN is unknown.
        owners: N names of people; empty tells them apart by the photos' folders, where there are several.
    """

    probabilities: Floats
    labels: Floats
    names: tuple[str, ...]
    paths: tuple[str, ...]
    thresholds: dict[str, float] = field(default_factory=dict)
    values: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    owners: tuple[str, ...] = ()

    def known(self, name: str) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """Probabilities, labels and rows of the images of which an attribute is known."""
        column = self.names.index(name)
        rows = np.flatnonzero(~np.isnan(self.labels[:, column]))
        return self.probabilities[rows, column], self.labels[rows, column], rows

    @cached_property
    def people(self) -> NDArray[np.intp]:
        """(N,) the number of the person on each image; of the image itself where nobody is known."""
        owners = self.owners or tuple(str(Path(path).parent) for path in self.paths)
        if len(set(owners)) < 2:
            return np.arange(len(owners))
        result: NDArray[np.intp] = np.unique(owners, return_inverse=True)[1]
        return result

    def __len__(self) -> int:
        return len(self.paths)

    def metrics(self) -> dict[str, Any]:
        """``mean_ap``, ``ap/NAME`` and the rest; None where an attribute has no positive or no negative."""
        results: dict[str, Any] = {"mean_ap": None}
        for name in self.names:
            scores, labels, _ = self.known(name)
            clipped = np.clip(scores, 1e-7, 1 - 1e-7)
            some = len(scores) > 0
            results |= {
                f"ap/{name}": average_precision(scores, labels) if (labels == 0).any() else None,
                f"balanced_accuracy/{name}": balanced_accuracy(scores >= 0.5, labels),
                f"ece/{name}": reliability(scores, labels == 1).error if some else None,
                f"prevalence/{name}": float(labels.mean()) if some else None,
                f"cross_entropy/{name}": float(
                    -(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)).mean()
                ) if some else None,
            }
            if name in self.thresholds:
                answer = scores >= self.thresholds[name]
                results[f"balanced_accuracy@chosen/{name}"] = balanced_accuracy(answer, labels)
                results[f"threshold/{name}"] = self.thresholds[name]
        for name, (expected, true) in self.values.items():
            both = ~np.isnan(true)
            results[f"mae/{name}"] = float(abs(expected - true)[both].mean()) if both.any() else None
        for short, mean in (("ap", "mean_ap"), ("ece", "ece"), ("cross_entropy", "cross_entropy")):
            parts = [results[f"{short}/{name}"] for name in self.names]
            defined = [part for part in parts if part is not None]
            results[mean] = float(np.mean(defined)) if defined else None
        return results

    def intervals(self, draws: int = DRAWS) -> dict[str, list[float]]:
        """95 % intervals of ``mean_ap`` and each ``ap/NAME`` by bootstrap over people."""
        rng, people = np.random.default_rng(0), self.people
        count = int(people.max()) + 1 if len(people) else 0
        if count < 2:
            return {}
        drawn: dict[str, list[float]] = {name: [] for name in self.names}
        means: list[float] = []
        for _ in range(draws):
            weights = np.bincount(rng.integers(count, size=count), minlength=count)[people].astype(float)
            results = []
            for name in self.names:
                scores, labels, rows = self.known(name)
                drawn_here = weights[rows]
                result = average_precision(scores, labels, drawn_here)
                if result is not None and drawn_here[labels == 0].any():
                    drawn[name].append(result)
                    results.append(result)
            means.append(float(np.mean(results)) if results else np.nan)
        reported = {"mean_ap": means} | {f"ap/{name}": values for name, values in drawn.items()}
        return {
            name: [float(v) for v in np.nanpercentile(np.array(values), INTERVAL)]
            for name, values in reported.items() if values and not np.isnan(np.array(values)).all()
        }

    def chosen_thresholds(self) -> dict[str, float]:
        """The threshold of each attribute that gives the best balanced accuracy here."""
        return {name: best_threshold(*self.known(name)[:2]) for name in self.names}

    def crossed(self) -> dict[str, float]:
        """Balanced accuracy of each attribute with the threshold chosen on the other half of the people."""
        half = np.random.default_rng(0).permutation(int(self.people.max()) + 1)[self.people] % HALVES
        results = {}
        for name in self.names:
            scores, labels, rows = self.known(name)
            answer = np.zeros(len(scores), dtype=bool)
            for part in range(HALVES):
                here = half[rows] == part
                answer[here] = scores[here] >= best_threshold(scores[~here], labels[~here])
            value = balanced_accuracy(answer, labels)
            if value is not None:
                results[f"balanced_accuracy@chosen/{name}"] = value
        return results

    def breakdown(self) -> list[dict[str, Any]]:
        """The errors of each attribute among the images that have, and have not, each other attribute."""
        rows = []
        for name in self.names:
            scores, labels, index = self.known(name)
            answer = scores >= self.thresholds.get(name, 0.5)
            for other in (item for item in self.names if item != name):
                by = self.labels[index, self.names.index(other)]
                for value in (0, 1):
                    here = by == value
                    rows.append({
                        "attribute": name, "by": other, "value": value, "n": int(here.sum()),
                        "error": _share(answer[here] != labels[here]),
                        "false_positive_rate": _share(answer[here & (labels == 0)]),
                        "false_negative_rate": _share(~answer[here & (labels == 1)]),
                        "ap": average_precision(scores[here], labels[here]),
                    })
        return rows


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None
