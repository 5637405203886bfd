"""The comparisons of ``python -m benchmarks speed``: who runs against whom, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAIN, READ, INFERENCE, FROZEN, PROCESSES = "train", "read", "inference", "frozen", "processes"
TIMM, TORCHVISION, MATRIX = "timm", "torchvision", "matrix product"
FIRST, LATER = "ours, first epoch", "ours, later epochs"
FIRST_BF16, LATER_BF16 = "ours, bf16, first epoch", "ours, bf16, later epochs"
CACHED, PLAIN = "ours, cached features", "ours, no cached features"
OURS, OURS_BF16 = "ours", "ours, bf16"
ONE_PROCESS, TWO_PROCESSES = "one process", "two processes"

# name of a side -> (runner, options)
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    TIMM: ("timm", {}),
    TORCHVISION: ("torchvision", {}),
    FIRST: ("ours", {"epoch": "first"}),
    LATER: ("ours", {"epoch": "later"}),
    FIRST_BF16: ("ours", {"epoch": "first", "precision": "bf16"}),
    LATER_BF16: ("ours", {"epoch": "later", "precision": "bf16"}),
    MATRIX: ("matrix", {}),
}
TRAINING = tuple(SIDES)
INFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    TIMM: ("timm-inference", {}),
    OURS: ("ours-inference", {}),
    OURS_BF16: ("ours-inference", {"precision": "bf16"}),
    MATRIX: ("matrix", {}),
}
FROZENS: dict[str, tuple[str, dict[str, Any]]] = {
    PLAIN: ("frozen", {"cached": False, "epochs": 10}),
    CACHED: ("frozen", {"cached": True, "epochs": 10}),
}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        kind: ``train``, ``read``, ``inference``, ``frozen`` or ``processes``.
        one_core: whether all is pinned to one core with one thread and no readers; else every side has its
            own defaults on all cores.
        steps: of a slice; ``warm_up`` the same before the first round.
        short_side: pixels that the photos' short side is brought to; None takes them as they are.
        photos: how many to learn from; None takes all.
        sides: those that take part; none named means all of the kind.
        most_rounds: bound on the rounds of a case whose slices are long; None for none.
    """

    kind: str
    width: float
    resolution: int
    steps: int
    warm_up: int = 1
    one_core: bool = True
    short_side: int | None = None
    photos: int | None = None
    sides: tuple[str, ...] = ()
    most_rounds: int | None = None

    @property
    def by(self) -> str:
        """The time that counts: the core's own on one core, the clock's where a side has many processes."""
        return "cpu" if self.one_core and self.kind != PROCESSES else "wall"

    def runners(self) -> Mapping[str, tuple[str, dict[str, Any]]]:
        """The sides that this case may have, by name."""
        table = {INFERENCE: INFERENCES, FROZEN: FROZENS}.get(self.kind, SIDES)
        return {name: value for name, value in table.items() if name in self.sides or not self.sides}


READERS = (TIMM, TORCHVISION, FIRST, LATER)
CASES: dict[str, Case] = {
    "train-1.0-224": Case(TRAIN, 1.0, 224, steps=2),
    "train-1.0-128": Case(TRAIN, 1.0, 128, steps=3),
    "train-0.25-128": Case(TRAIN, 0.25, 128, steps=5, warm_up=2, short_side=500),
    "read-224": Case(READ, 1.0, 224, steps=4, short_side=500, sides=READERS),
    "cores-1.0-224": Case(TRAIN, 1.0, 224, steps=2, one_core=False, sides=(*READERS, FIRST_BF16)),
    "cores-0.25-128": Case(
        TRAIN, 0.25, 128, steps=7, warm_up=4, one_core=False, short_side=500, sides=(*READERS, FIRST_BF16)
    ),
    "inference": Case(INFERENCE, 1.0, 224, steps=2),
    "frozen": Case(FROZEN, 1.0, 128, steps=1, warm_up=0, photos=192, most_rounds=2),
    "processes": Case(PROCESSES, 1.0, 128, steps=1, warm_up=0, one_core=False, photos=256, most_rounds=2),
}
QUICK = ("train-0.25-128", "inference")


@dataclass(frozen=True)
class Target:
    """A figure that issue 4 asks for: how many times as fast ``top`` must be as ``bottom``."""

    case: str
    top: str
    bottom: str
    at_least: float
    words: str


TARGETS = (
    Target("train-1.0-224", FIRST, TIMM, 2.2, "training end to end per core, 1.0 at 224 px, fp32"),
    Target("train-1.0-224", FIRST_BF16, TIMM, 3.5, "training end to end per core, 1.0 at 224 px, bf16"),
    Target("train-1.0-128", FIRST, TIMM, 1.5, "training end to end per core, 1.0 at 128 px, fp32"),
    Target("train-1.0-128", FIRST_BF16, TIMM, 2.0, "training end to end per core, 1.0 at 128 px, bf16"),
    Target("train-0.25-128", FIRST, TIMM, 2.0, "0.25 at 128 px, photos of 500 px, first epoch"),
    Target("train-0.25-128", LATER, TIMM, 3.0, "0.25 at 128 px, photos of 500 px, from the second epoch on"),
    Target("frozen", CACHED, PLAIN, 8.0, "frozen backbone, 10 epochs, with cached features over without"),
    Target("inference", OURS, TIMM, 1.6, "inference, batch 32, 1.0 at 224 px, fp32"),
    Target("inference", OURS_BF16, TIMM, 2.6, "inference, batch 32, 1.0 at 224 px, bf16"),
    Target(
        "processes", TWO_PROCESSES, ONE_PROCESS, 1.6,
        "two processes of one thread over one process of one thread",
    ),
)
MET, MISSED, UNKNOWN = "met", "missed", "cannot be measured here"


@dataclass
class Result:
    """What a case found.

    Args:
        asked: all that its figures depend on; a result of something else is measured again.
        sides: name -> as :class:`benchmarks.rounds.Record` writes itself.
        absent: sides that could not be measured, and why.
        mult_adds: of one photo's forward pass; 0 where nobody asks.
    """

    asked: dict[str, Any]
    date: str
    seconds: float = 0.0
    sides: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    mult_adds: int = 0
