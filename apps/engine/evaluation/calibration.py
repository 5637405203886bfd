"""Confidence that means what it says, and a rule for images of nothing the network knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.classification import (
    Bools,
    Floats,
    Ints,
    check_logits,
    check_temperature,
    cross_entropy,
    log_softmax,
    reliability,
    softmax,
)

TEMPERATURES = (0.01, 100.0)


def fit_temperature(logits: NDArray[Any], targets: Ints) -> float:
    """The temperature at which the softmax of these logits has the least cross-entropy.

    The problem is convex in 1 / temperature. When every image is right by a clear margin it has no
    least point (the sharper the better); the temperature is then the one whose mean confidence is
    (N + 1) / (N + 2), the rule of succession for N right of N: 2/3 for a single image.

    Args:
        logits: (N, K) finite; of images that the network was not trained on.
        targets: (N,) the right classes, 0 to K - 1.

    Returns:
        0.01 to 100; above 1 for a network that is too sure, below 1 for one that is too modest.
    Raises:
        ValueError: a shape does not fit, a logit is not finite, or a target is not a class.
    Source: Guo et al. 2017, On calibration of modern neural networks, section 4.2.
    """
    from scipy.optimize import minimize_scalar  # not above: those who only apply a rule need no scipy

    check_logits(logits, targets)
    if np.ptp(logits, axis=1).max() == 0:
        return 1.0
    if _separated(logits, targets):
        return _succession_temperature(logits)
    low, high = np.log(TEMPERATURES)
    fit = minimize_scalar(
        lambda log_t: cross_entropy(logits, targets, float(np.exp(log_t))),
        bounds=(low, high), method="bounded", options={"xatol": 1e-5},
    )
    return float(np.exp(fit.x))


def _separated(logits: NDArray[Any], targets: Ints) -> bool:
    custom = logits[np.arange(len(targets)), targets]
    others = logits.astype(np.float64)
    others[np.arange(len(targets)), targets] = -np.inf
    return bool((custom > others.max(axis=1)).all())


def _succession_temperature(logits: NDArray[Any]) -> float:
    from scipy.optimize import brentq

    wanted = (len(logits) + 1) / (len(logits) + 2)

    def excess(log_t: float) -> float:
        return float(softmax(logits, float(np.exp(log_t))).max(axis=1).mean() - wanted)

    low, high = np.log(TEMPERATURES)
    if excess(low) <= 0:
        return TEMPERATURES[0]
    if excess(high) >= 0:
        return TEMPERATURES[1]
    return float(np.exp(brentq(excess, low, high)))


def cross_fitted_ece(logits: NDArray[Any], targets: Ints, folds: int = 5, seed: int = 0) -> float:
    """Calibration error that the temperature really buys: fitted without the images it is rated on.

    Args:
        logits: (N, K) finite, N from 2 up.
        targets: (N,) the right classes, 0 to K - 1.
        folds: parts that the images are dealt into, from 2 up; at most N are used.
        seed: of the deal.

    Returns:
        Expected calibration error over all images in 15 bins, 0 to 1.
    Raises:
        ValueError: fewer than two images or folds, or arrays that :func:`fit_temperature` refuses.
    """
    check_logits(logits, targets)
    n = len(targets)
    if min(n, folds) < 2:
        raise ValueError(f"cross-fitting needs 2 photos and 2 folds or more, got {n} and {folds}")
    fold = np.random.default_rng(seed).permutation(n) % min(n, folds)
    confidence = np.empty(n)
    for held_out in range(min(n, folds)):
        mine = fold == held_out
        temperature = fit_temperature(logits[~mine], targets[~mine])
        confidence[mine] = softmax(logits[mine], temperature).max(axis=1)
    return reliability(confidence, logits.argmax(axis=1) == targets).error


def energy(logits: NDArray[Any], temperature: float) -> Floats:
    """(N,) temperature * log sum exp(logits / temperature): high for what the network knows.

    Source: Liu et al. 2020, Energy-based out-of-distribution detection, equation 4, sign turned.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    total: Floats = temperature * (scaled - log_softmax(scaled))[:, 0]
    return total


def max_logit(logits: NDArray[Any], temperature: float) -> Floats:
    """(N,) the highest logit, at any temperature."""
    del temperature
    best: Floats = np.asarray(logits, dtype=np.float64).max(axis=1)
    return best


def max_softmax(logits: NDArray[Any], temperature: float) -> Floats:
    """(N,) the highest probability at the temperature, 1 / K to 1."""
    best: Floats = softmax(logits, temperature).max(axis=1)
    return best


def known_share(logits: NDArray[Any], temperature: float) -> Floats:
    """(N,) the probability of all logits but the last one, which stands for everything else, 0 to 1."""
    share: Floats = 1 - softmax(logits, temperature)[:, -1]
    return share


SCORES: dict[str, Callable[[NDArray[Any], float], Floats]] = {
    "energy": energy,
    "known_share": known_share,
    "max_logit": max_logit,
    "max_softmax": max_softmax,
}


@dataclass(frozen=True)
class UnknownRule:
    """An image whose score lies below the threshold shows nothing that the network knows.

    Args:
        score: a name of ``SCORES``.
        threshold: in the score's own unit.
        temperature: that the score is taken at, above 0.

    Raises:
        ValueError: there is no such score, or the threshold or temperature is not usable.
    """

    score: str
    threshold: float
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"unknown score {self.score!r}; there are {', '.join(sorted(SCORES))}")
        if not np.isfinite(self.threshold):
            raise ValueError(f"expected a finite threshold, got {self.threshold}")
        check_temperature(self.temperature)

    def scores(self, logits: NDArray[Any]) -> Floats:
        """(N, K) logits to (N,) scores, high for what the network knows."""
        return SCORES[self.score](logits, self.temperature)

    def is_unknown(self, logits: NDArray[Any]) -> Bools:
        """(N, K) logits to (N,) verdicts.

        Raises:
            ValueError: the logits are not of shape (N, K), or not finite.
        """
        if logits.ndim != 2 or not np.isfinite(logits).all():
            raise ValueError(f"expected finite logits of shape (N, K), got {logits.shape}")
        verdict: Bools = self.scores(logits) < self.threshold
        return verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written into a checkpoint's ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> UnknownRule:
        """The inverse of :meth:`to_dict`; ValueError when a key is missing or not known."""
        if not {"score", "threshold"} <= values.keys() <= {"score", "threshold", "temperature"}:
            raise ValueError(f"expected score, threshold and temperature of a rule, got {sorted(values)}")
        return cls(**values)


def unknown_flags(rule: Mapping[str, Any] | None, logits: NDArray[Any]) -> list[bool | None]:
    """For each row of (N, K) logits whether the image is unknown; None where no rule was calibrated.

    Args:
        rule: of a calibration, as :meth:`UnknownRule.to_dict` gives it; None where there is none.
        logits: (N, K) finite.

    Raises:
        ValueError: the rule is damaged, or the logits are not of shape (N, K) or not finite.
    """
    if not rule:
        return [None] * len(logits)
    flags: list[bool | None] = UnknownRule.from_dict(dict(rule)).is_unknown(logits).tolist()
    return flags


def fit_unknown_rule(
    logits: NDArray[Any], targets: Ints, temperature: float, *, keep: float = 0.95, score: str = "energy"
) -> UnknownRule:
    """A rule that calls about ``1 - keep`` of such images as these unknown, right or wrong.

    The threshold is the floor((N + 1) * (1 - keep))-th lowest score, the first at least: a new image
    of the same kind is kept with probability ``keep`` or more once N reaches keep / (1 - keep).

    Args:
        logits: (N, K) finite; of images of the known classes that the network was not trained on.
        targets: (N,) their classes, 0 to K - 1.
        temperature: of :func:`fit_temperature`, above 0.
        keep: share of known images that stay known, 0 to 1, both excluded.
        score: a name of ``SCORES``.

    Raises:
        ValueError: an argument is outside its range or a shape does not fit.
    Source: split-conformal threshold, Vovk et al. 2005, Algorithmic learning in a random world.
    """
    check_logits(logits, targets)
    if not 0 < keep < 1:
        raise ValueError(f"expected keep between 0 and 1, got {keep}")
    rule = UnknownRule(score, 0.0, float(temperature))
    lowest = max(1, int(np.floor((len(targets) + 1) * (1 - keep) + 1e-9)))
    return UnknownRule(score, float(np.sort(rule.scores(logits))[lowest - 1]), rule.temperature)
