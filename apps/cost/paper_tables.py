"""The cost tables of the MobileNet paper as data: its figures as printed, and the network of each row.

Source: Howard et al. 2017, arXiv:1704.04861. Every figure here is the paper's, the accuracies among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CELLS = 9_760  # of PlaNet's student: what its last layer of 10 M parameters comes to
ATTRIBUTES = 40  # of CelebA; the paper does not tell how many its own set has
EMBEDDING = 128  # numbers of a FaceNet embedding
DOGS = 120
COCO_CLASSES = 90  # and the background: the 91 outputs of TensorFlow's models for COCO


@dataclass(frozen=True)
class Network:
    """What is built for a row.

    Args:
        arch: ``mobilenetv1``, or a name of torchvision's.
        width: multiplier of the channels, above 0.
        resolution: side of the image in pixels, from 32 up.
        classes: outputs of the linear layer after the mean; 0 for the trunk alone.
        embedding: numbers of a linear layer on the whole last map, in place of ``classes``.
        separable, shallow: as in ``backbone.MobileNetV1``.
        detector: ``ssd`` or ``frcnn`` on ``mobilenetv1`` or ``vgg16``, with ``classes`` and the background;
            empty for none.
        auxiliary: with the second classifier that only training uses.
    """

    arch: str = "mobilenetv1"
    width: float = 1.0
    resolution: int = 224
    classes: int = 1000
    embedding: int = 0
    separable: bool = True
    shallow: bool = False
    auxiliary: bool = False
    detector: str = ""


@dataclass(frozen=True)
class Row:
    """One row as printed.

    Args:
        name: of the network.
        mult_adds, parameters: with their unit, ``M`` or ``G``, and in Table 2 ``%``; empty if not given.
        accuracy: metric -> fraction of one.
        network: what to build; None where nothing public can be built.
        note: why ours differs by more than 2 %, or what was assumed.
        kind: in Table 2, the kind of layer that the row is about.
    """

    name: str
    mult_adds: str = ""
    parameters: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    network: Network | None = None
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper; ``remark`` is said once, above the rows."""

    title: str
    rows: tuple[Row, ...]
    remark: str = ""


def _ours(
    width: float, resolution: int, accuracy: Mapping[str, float], mult_adds: str, parameters: str, *,
    note: str = "", **network: int,
) -> Row:
    """A row about a MobileNet."""
    built = Network(width=width, resolution=resolution, **network)  # type: ignore[arg-type]
    name = f"{width:.2f}".rstrip("0").ljust(3, "0") + f" MobileNet-{resolution}"
    return Row(name, f"{mult_adds} M", f"{parameters} M", accuracy, built, note)


def _top1(value: float) -> dict[str, float]:
    return {"top1": value}


FULL = _ours(1.0, 224, _top1(0.706), "569", "4.2")
HALF = _ours(0.5, 160, _top1(0.602), "76", "1.32")
NOT_PUBLIC = "an in-house network; its figures are those of FaceNet's NN2; there is nothing public to build"
SSD_NOTE = (
    "4 boxes a place on the first map and 91 outputs; with 3 boxes there it is 1237 M mult-adds and 6.82 M "
    "parameters, with 81 outputs 1240 M and 6.72 M; there are weights of width 0.75 with 3 boxes there, "
    "ssd_mobilenetv1_0.75_coco: 728 M and 4.11 M with 91 outputs"
)
VGG_SSD_NOTE = (
    "torchvision's ssd300_vgg16 with 91 outputs, whose mult-adds are the paper's; with 81 outputs it is "
    "34.36 G and 34.3 M, so that no usual number of outputs gives 33.1 M"
)
NO_INCEPTION_V2 = "neither torchvision nor timm holds Inception V2, so there is nothing to build it from"
STEM_NOTE = (
    "not the network of Table 6 (41 M at 224 px, 13.6 M at 128 px, with 1000 classes); a first layer kept at "
    "16 channels in place of 8 would give {} M"
)
HEAD_NOTE = (
    "head not described in the paper; assumed: linear from the whole {0} x {0} map to FaceNet's 128 numbers. "
    "No one head fits: the paper has more parameters at 128 px than at 160 px"
)

TABLE_2 = Table(
    "resources by kind of layer",
    (
        Row("Conv 1x1", "94.86 %", "74.59 %", network=Network(), kind="conv 1x1"),
        Row("Conv DW 3x3", "3.06 %", "1.06 %", network=Network(), kind="conv dw 3x3"),
        Row("Conv 3x3", "1.19 %", "0.02 %", network=Network(), kind="conv 3x3",
            note="digits swapped in the paper: its column sums to 99.29 %, with 1.91 % to 100.01 %"),
        Row("Fully connected", "0.18 %", "24.33 %", network=Network(), kind="fully connected"),
    ),
    "Shares of 1.0 MobileNet-224. Of its parameters the paper counts those that multiply, 4,209,088 of "
    "4,231,976: without batch-norm and biases.",
)
TABLE_4 = Table("separable against full convolutions", (
    Row("Conv MobileNet", "4866 M", "29.3 M", _top1(0.717), Network(separable=False)),
    Row("MobileNet", "569 M", "4.2 M", _top1(0.706), Network()),
))
TABLE_5 = Table("narrow against shallow", (
    Row("0.75 MobileNet", "325 M", "2.6 M", _top1(0.684), Network(width=0.75)),
    Row("Shallow MobileNet", "307 M", "2.9 M", _top1(0.653), Network(shallow=True)),
))
TABLE_6 = Table("width multiplier", (
    FULL,
    _ours(0.75, 224, _top1(0.684), "325", "2.6"),
    _ours(0.5, 224, _top1(0.637), "149", "1.3"),
    _ours(0.25, 224, _top1(0.506), "41", "0.5"),
))
TABLE_7 = Table("resolution", (
    FULL,
    _ours(1.0, 192, _top1(0.691), "418", "4.2"),
    _ours(1.0, 160, _top1(0.672), "290", "4.2"),
    _ours(1.0, 128, _top1(0.644), "186", "4.2"),
))
TABLE_8 = Table("against popular networks", (
    FULL,
    Row("GoogleNet", "1550 M", "6.8 M", _top1(0.698), Network("googlenet"),
        "another variant: torchvision's has 3x3 kernels where GoogLeNet has 5x5; with these, batch-norm "
        "and no side heads it is 1583 M and 7.0 M. The 6.8 M are the sum of the GoogLeNet paper's own table"),
    Row("VGG 16", "15300 M", "138 M", _top1(0.715), Network("vgg16")),
))
TABLE_9 = Table("a small one against small networks", (
    HALF,
    Row("Squeezenet", "1700 M", "1.25 M", _top1(0.575), Network("squeezenet1_0"),
        "other convention: the paper's figure is twice ours, as if multiplications and additions were "
        "counted apart (1638 M at 224 px, 1665 M at 227 px); so SqueezeNet costs 11 times the 0.50 "
        "MobileNet-160, not 22"),
    Row("AlexNet", "720 M", "60 M", _top1(0.572), Network("alexnet"),
        "torchvision's is the later one-tower variant"),
))
TABLE_10 = Table("Stanford Dogs", (
    Row("Inception V3", "5000 M", "23.2 M", _top1(0.84),
        Network("inception_v3", resolution=299, classes=DOGS),
        "the round \"5 billion\" of the Inception V3 paper; 23.2 M lies between 120 classes (22.0 M) and "
        "1000 (23.8 M), and no count that the paper names gives it"),
    _ours(1.0, 224, _top1(0.833), "569", "3.3", classes=DOGS),
    _ours(0.75, 224, _top1(0.819), "325", "1.9", classes=DOGS),
    _ours(1.0, 192, _top1(0.819), "418", "3.3", classes=DOGS),
    _ours(0.75, 192, _top1(0.805), "239", "1.9", classes=DOGS),
))


def _within(*shares: float) -> dict[str, float]:
    distances = ("2500km", "750km", "200km", "25km", "1km")
    return {f"within_{distance}": share for distance, share in zip(distances, shares, strict=True)}


TABLE_11 = Table("where a photo was taken: Im2GPS", (
    Row("Im2GPS", accuracy=_within(0.519, 0.354, 0.321, 0.219, 0.025),
        note="no network: nearest neighbours among features made by hand"),
    Row("PlaNet", "5.74 G", "52 M", _within(0.776, 0.64, 0.511, 0.317, 0.11),
        Network("inception_v3", resolution=299, classes=CELLS, auxiliary=True),
        "Inception V3 with 9,760 cells and its side classifier, which has parameters but is not run after "
        "training; without it 41.8 M"),
    Row("PlaNet MobileNet", "0.58 G", "13 M", _within(0.793, 0.603, 0.452, 0.317, 0.114),
        Network(classes=CELLS), "the paper's text says 0.58 million and means billion"),
), "Costs are from the paper's text, section 4.4.")


def _attributes(
    width: float, resolution: int, mean_ap: float, mult_adds: str, parameters: str, note: str = ""
) -> Row:
    return _ours(
        width, resolution, {"mean_ap": mean_ap}, mult_adds, parameters, note=note, classes=ATTRIBUTES
    )


TABLE_12 = Table("face attributes", (
    _attributes(1.0, 224, 0.887, "568", "3.2"),
    _attributes(0.5, 224, 0.881, "149", "0.8"),
    _attributes(0.25, 224, 0.872, "45", "0.2", STEM_NOTE.format("46.0")),
    _attributes(1.0, 128, 0.881, "185", "3.2"),
    _attributes(0.5, 128, 0.877, "48", "0.8"),
    _attributes(0.25, 128, 0.864, "15", "0.2", STEM_NOTE.format("15.0")),
    Row("Baseline", "1600 M", "7.5 M", {"mean_ap": 0.869}, note=NOT_PUBLIC),
), "Ours is the trunk and a linear layer for the 40 attributes of CelebA; the paper does not say how many "
   "its own set has.")


def _detector(name: str, mult_adds: str, parameters: str, ap: float, note: str = "") -> Row:
    system, _, trunk = name.partition(", ")
    archs = {"MobileNet": "mobilenetv1", "VGG": "vgg16", "deeplab-VGG": "vgg16"}
    network = None
    if trunk in archs:
        kind = "ssd" if system.startswith("SSD") else "frcnn"
        network = Network(archs[trunk], resolution=int(system[-3:]), classes=COCO_CLASSES, detector=kind)
    note = note if network else NO_INCEPTION_V2
    return Row(name, f"{mult_adds} G", f"{parameters} M", {"ap": ap}, network, note)


TABLE_13 = Table("COCO objects", (
    _detector("SSD 300, deeplab-VGG", "34.9", "33.1", 0.211, VGG_SSD_NOTE),
    _detector("SSD 300, Inception V2", "3.8", "13.7", 0.22),
    _detector("SSD 300, MobileNet", "1.2", "6.8", 0.193, SSD_NOTE),
    _detector("Faster-RCNN 300, VGG", "64.3", "138.5", 0.229),
    _detector("Faster-RCNN 300, Inception V2", "118.2", "13.3", 0.154),
    _detector("Faster-RCNN 300, MobileNet", "25.2", "6.1", 0.164),
    _detector("Faster-RCNN 600, VGG", "149.6", "138.5", 0.257),
    _detector("Faster-RCNN 600, Inception V2", "129.6", "13.3", 0.219),
    _detector("Faster-RCNN 600, MobileNet", "30.5", "6.1", 0.198),
), "Of Faster-RCNN, 300 proposals are counted; VGG's box head is its own two layers of 4,096.")


def _faces(
    width: float, resolution: int, tar: float, mult_adds: str, parameters: str, more: str = ""
) -> Row:
    note = HEAD_NOTE.format(resolution // 32) + more
    return _ours(
        width, resolution, {"tar@far=1e-4": tar}, mult_adds, parameters, note=note, classes=0,
        embedding=EMBEDDING,
    )


TABLE_14 = Table("face embeddings, by distillation from FaceNet", (
    Row("FaceNet", "1600 M", "7.5 M", {"tar@far=1e-4": 0.83}, note=NOT_PUBLIC),
    _faces(1.0, 160, 0.794, "286", "4.9"),
    _faces(1.0, 128, 0.783, "185", "5.5"),
    _faces(0.75, 160, 0.752, "166", "3.4", ". The paper misprints this row's label: 166 M are 160 px"),
    _faces(0.75, 128, 0.725, "108", "3.8"),
), "Heads tried against the parameters of all four rows: to FaceNet's 128 numbers from the mean, 32 to 50 % "
   "too few, from the whole map, 11 % too few to 32 % too many; with the size left free, 2,104 from the mean "
   "is best (off by up to 10 %), 104 from the whole map (up to 20 %). The trunk alone, without any head, "
   "already has 289.7 M mult-adds where the paper prints 286.")

TABLES: dict[int, Table] = {
    2: TABLE_2, 4: TABLE_4, 5: TABLE_5, 6: TABLE_6, 7: TABLE_7, 8: TABLE_8, 9: TABLE_9, 10: TABLE_10,
    11: TABLE_11, 12: TABLE_12, 13: TABLE_13, 14: TABLE_14,
}
