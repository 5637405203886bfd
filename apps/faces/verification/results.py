"""The metrics of one model of faces, as reports and commands read them."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.faces.extraction.embedder import Vectors
from apps.faces.verification.protocol import Operating, PairFigures, far_name
from apps.faces.verification.verification_set import VerificationSet


@dataclass(frozen=True)
class VerificationResult:
    """One model's figures.

    Args:
        name: of its weights, run or file.
        trial: the images that it gave vectors for, and their pairs.
        vectors: (N, D) of these images.
        pairs: figures of the pairs.
        points: TAR at each FAR.
        rank1: rank-1, where people are known.
        intervals: 95 % intervals by the names of the figures.
        cost: mult-adds and parameters; empty where no network was run.
        left_out: images that gave no vector.
        shares: TAR at each FAR as a share of the teacher's; empty where there is no teacher.
    """

    name: str
    trial: VerificationSet
    vectors: Vectors
    pairs: PairFigures
    points: list[Operating]
    rank1: float | None
    intervals: dict[str, list[float]]
    cost: dict[str, int]
    left_out: int
    shares: dict[float, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """The figures by the names of the design; thresholds beside the rates that they belong to."""
        values = {
            "accuracy": self.pairs.accuracy, "accuracy_se": self.pairs.accuracy_se, "auc": self.pairs.auc,
            "eer": self.pairs.eer,
        }
        values |= {f"tar@far={far_name(p.far)}": p.tar for p in self.points}
        values |= {f"threshold@far={far_name(p.far)}": p.threshold for p in self.points}
        values |= {f"teacher_share@far={far_name(far)}": share for far, share in self.shares.items()}
        return values | ({} if self.rank1 is None else {"rank1": self.rank1})
