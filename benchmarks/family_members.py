"""Which networks the family's benchmark compares, and what their makers say of them."""

from __future__ import annotations

from dataclasses import dataclass

from apps.cost.networks import OURS
from apps.cost.paper_tables import TABLES, Network
from backbone.pretrained import REGISTRY
from backbone.stated_accuracy import RESOLUTIONS

WIDTHS = (1.0, 0.75, 0.5, 0.25)
FAMILY, VARIANT, COMPARATOR = "family", "variant", "comparator"
BASE = "1.0 MobileNet-224"
IMAGENET_TABLES = (4, 5, 6, 7, 8, 9)  # those of the paper whose accuracy is ImageNet's


@dataclass(frozen=True)
class Member:
    """One network of the comparison.

    Args:
        name: as the page shows it.
        kind: ``family``, ``variant`` or ``comparator``.
        network: what is built; with 1000 classes.
        paper_top1: ImageNet top-1 as the MobileNet paper prints it, fraction of one; None if it does not.
        published_top1: the same of TensorFlow's checkpoint, as its makers state it.
    """

    name: str
    kind: str
    network: Network
    paper_top1: float | None = None
    published_top1: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """Weights evaluated on ``n`` photos of ``classes``: a share with its 95 % interval."""

    weights: str
    source: str
    member: str
    n: int
    top1: float
    interval: tuple[float, float]
    classes: tuple[str, ...]


def members() -> tuple[Member, ...]:
    """The 16 of the family, the paper's two variants and its five comparators."""
    printed = {
        row.network: row.accuracy["top1"] for number in IMAGENET_TABLES for row in TABLES[number].rows
        if row.network is not None
    }
    family = [_of_family(width, side) for width in WIDTHS for side in RESOLUTIONS]
    others = [
        ("Full convolutions", VARIANT, Network(separable=False)),
        ("Shallow", VARIANT, Network(shallow=True)),
        ("GoogLeNet", COMPARATOR, Network("googlenet")),
        ("VGG16", COMPARATOR, Network("vgg16")),
        ("SqueezeNet 1.0", COMPARATOR, Network("squeezenet1_0")),
        ("AlexNet", COMPARATOR, Network("alexnet")),
        ("Inception V3", COMPARATOR, Network("inception_v3", resolution=299)),
    ]
    results = [*family, *(Member(*other) for other in others)]
    return tuple(
        Member(item.name, item.kind, item.network, printed.get(item.network), item.published_top1)
        for item in results
    )


def family_name(width: float, resolution: int) -> str:
    """``0.25 MobileNet-128``."""
    return f"{width} MobileNet-{resolution}"


def _of_family(width: float, resolution: int) -> Member:
    published = REGISTRY[f"mobilenet_v1_{width}_{resolution}"].top1
    network = Network(OURS, width=width, resolution=resolution)
    return Member(family_name(width, resolution), FAMILY, network, published_top1=published)
