"""What a classifier's answers are worth: counted once over all images, divided once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ECE_BINS = 15


@dataclass(frozen=True, eq=False)
class Predictions:
    """A classifier's raw answers on N images, with the truth beside them.

    Args:
        logits: (N, K) finite numbers, unnormalised; N and K from 1 up.
        targets: (N,) the right class of each image, 0 to K - 1.
        paths: N strings that name the images.
        classes: K names.
        temperature: what the logits are divided by before the softmax, above 0.

    Raises:
        ValueError: a shape does not fit, a logit is not finite, or a target is not a class.
    """

    logits: NDArray[np.float32]
    targets: Ints
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_logits(self.logits, self.targets)
        n, k = self.logits.shape
        if len(self.paths) != n:
            raise ValueError(f"expected one path for each of {n} photos, got {len(self.paths)}")
        if len(self.classes) != k:
            raise ValueError(f"expected one name for each of {k} classes, got {len(self.classes)}")
        check_temperature(self.temperature)

    def __len__(self) -> int:
        return len(self.targets)

    def metrics(self) -> dict[str, float]:
        """``top1``, ``top5``, ``ece``, ``cross_entropy``; see :func:`classification_metrics`."""
        return classification_metrics(self)

    def intervals(self) -> dict[str, list[float]]:
        """95 % Wilson intervals of the accuracies; see :func:`intervals`."""
        return intervals(self)

    @cached_property
    def probabilities(self) -> Floats:
        """(N, K) softmax of the logits at the temperature; each row sums to 1."""
        return softmax(self.logits, self.temperature)

    @cached_property
    def predicted(self) -> Ints:
        """(N,) the class with the highest logit; of equal ones the first."""
        best: Ints = self.logits.argmax(axis=1).astype(np.int64)
        return best

    @cached_property
    def confidence(self) -> Floats:
        """(N,) the probability of the predicted class, 1 / K to 1."""
        best: Floats = self.probabilities.max(axis=1)
        return best

    @cached_property
    def right(self) -> Bools:
        """(N,) whether the predicted class is the target."""
        hit: Bools = self.predicted == self.targets
        return hit


def check_logits(logits: NDArray[Any], targets: NDArray[Any]) -> None:
    """Raise ValueError unless these are (N, K) finite logits and (N,) classes 0 to K - 1."""
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"expected logits of shape (N, K) with N and K from 1 up, got {logits.shape}")
    if targets.shape != logits.shape[:1]:
        raise ValueError(f"expected targets of shape ({len(logits)},), got {targets.shape}")
    if not np.isfinite(logits).all():
        row = int(np.argmin(np.isfinite(logits).all(axis=1)))
        raise ValueError(f"logits of photo {row} are not finite; lower the learning rate, check the weights")
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError(
            f"expected integer targets from 0 to {logits.shape[1] - 1}, "
            f"got {targets.dtype} from {targets.min()} to {targets.max()}"
        )


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is a finite number above 0."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"expected a finite temperature above 0, got {temperature}")


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Logarithm of the softmax along the last axis, in double precision.

    Shape:
        logits: (..., K), returns the same.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    out: Floats = scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return out


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities along the last axis, in double precision.

    Shape:
        logits: (..., K), returns the same.
    """
    out: Floats = np.exp(log_softmax(logits, temperature))
    return out


def top_k_right(predictions: Predictions, k: int) -> int:
    """Photos whose target is among the k highest logits; of equal logits the first class comes first.

    So a network that gives every class the same logit is right on the first k classes only.

    Raises:
        ValueError: k is not from 1 to K.
    """
    logits, targets = predictions.logits, predictions.targets
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"expected k from 1 to {logits.shape[1]} classes, got {k}")
    custom = logits[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(logits.shape[1]) < targets[:, None]
    rank = (logits > custom).sum(axis=1) + ((logits == custom) & earlier).sum(axis=1)
    return int((rank < k).sum())


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose target is among the k highest logits, 0 to 1; ties as in :func:`top_k_right`."""
    return top_k_right(predictions, k) / len(predictions.targets)


def wilson_interval(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval for a share of which ``right`` of ``n`` were seen; (0, 1) when n is 0.

    Args:
        right: 0 to n.
        n: trials, from 0 up.
        level: probability that the interval holds the true share, 0 to 1, both excluded.

    Raises:
        ValueError: an argument is outside its range.
    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if not 0 <= right <= n or not 0 < level < 1:
        raise ValueError(f"expected 0 <= right <= n and 0 < level < 1, got {right=}, {n=}, {level=}")
    if n == 0:
        return 0.0, 1.0
    from statistics import NormalDist  # which brings fractions and decimals along

    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = right / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


@dataclass(frozen=True, eq=False)
class Reliability:
    """What was promised and what was kept, in equal-width bins of confidence.

    Args:
        count: (bins,) images in each bin.
        confidence: (bins,) their summed confidence.
        right: (bins,) how many of them were right.
    """

    count: Ints
    confidence: Floats
    right: Ints

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: the gap of each bin, weighed by its images."""
        return float(np.abs(self.right - self.confidence).sum() / max(1, self.count.sum()))


def reliability(confidence: Floats, right: Bools, bins: int = ECE_BINS) -> Reliability:
    """Sort answers into bins (lower, upper] of confidence; a confidence of 0 goes into the first.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    return Reliability(
        count=np.bincount(index, minlength=bins).astype(np.int64),
        confidence=np.bincount(index, weights=confidence, minlength=bins).astype(np.float64),
        right=np.bincount(index[right], minlength=bins).astype(np.int64),
    )


def cross_entropy(logits: NDArray[Any], targets: Ints, temperature: float = 1.0) -> float:
    """Mean negative log-probability of the target in nats, 0 up; log K for a network that knows nothing."""
    rows = log_softmax(logits, temperature)[np.arange(len(targets)), targets]
    return float(-rows.mean())


def classification_metrics(p: Predictions) -> dict[str, float]:
    """``top1``, ``top5`` (with more than 5 classes) and ``ece`` as fractions, ``cross_entropy`` in nats."""
    results = {f"top{k}": top_k_accuracy(p, k) for k in _ranks(p)}
    results["ece"] = reliability(p.confidence, p.right).error
    results["cross_entropy"] = cross_entropy(p.logits, p.targets, p.temperature)
    return results


def intervals(p: Predictions) -> dict[str, list[float]]:
    """95 % Wilson intervals [lower, upper] of ``top1`` and, with more than 5 classes, ``top5``."""
    return {f"top{k}": list(wilson_interval(top_k_right(p, k), len(p.targets))) for k in _ranks(p)}


def _ranks(p: Predictions) -> tuple[int, ...]:
    return (1, 5) if len(p.classes) > 5 else (1,)


def confusion(p: Predictions) -> Ints:
    """(K, K) images of class ``row`` that were called ``column``."""
    k = len(p.classes)
    counts = np.bincount(p.targets * k + p.predicted, minlength=k * k)
    return counts.reshape(k, k).astype(np.int64)


def per_class(p: Predictions) -> list[dict[str, Any]]:
    """``name``, ``n``, ``right``, ``precision``, ``recall`` and ``f1`` of each class; None where 0 / 0."""
    matrix = confusion(p)
    rows = zip(p.classes, np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0), strict=True)
    return [
        {
            "name": name, "n": int(n), "right": int(hit),
            "precision": _share(hit, answer), "recall": _share(hit, n), "f1": _share(2 * hit, n + answer),
        }
        for name, hit, n, answer in rows
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Args:
        first: index of the one class, below ``second``.
        second: index of the other.
        first_as_second: images of the first that were called the second.
        second_as_first: images of the second that were called the first.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int

    @property
    def count(self) -> int:
        """Mistakes in both directions."""
        return self.first_as_second + self.second_as_first


def most_confused(p: Predictions, n: int) -> list[ConfusedPair]:
    """The n pairs of classes with the most mistakes, most first; pairs never mistaken are left out."""
    matrix = confusion(p)
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:n]
    pairs = [divmod(int(flat), len(p.classes)) for flat in order]
    return [ConfusedPair(a, b, int(matrix[a, b]), int(matrix[b, a])) for a, b in pairs if both[a, b]]
