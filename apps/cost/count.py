"""What networks cost, beside what the paper says that they cost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

from apps.cost.networks import OURS, build_network, named_backbone
from apps.cost.paper_tables import TABLES, Network, Row
from backbone.base import MIN_SIZE_PX
from backbone.complexity import CONVENTION, Cost, cost

TOLERANCE_PERCENT = 2.0
MAX_SIZE_PX, MAX_CLASSES, MAX_WIDTH = 16_384, 100_000_000, 64  # far above any use, far below 64-bit counts
UNITS = {"M": Decimal(10**6), "G": Decimal(10**9), "%": Decimal("0.01")}


def table_numbers(asked: str) -> list[int]:
    """The tables that the user means.

    Args:
        asked: a number of one of the paper's cost tables, or ``all``.

    Raises:
        ValueError: the paper has no cost table of that number.
    """
    if asked == "all":
        return list(TABLES)
    if not asked.isdecimal() or int(asked) not in TABLES:
        raise ValueError(f"there is no cost table {asked!r}: give 2, 4 to 14, or all")
    return [int(asked)]


def table_rows(number: int) -> list[dict[str, Any]]:
    """The rows of one of the paper's tables: its figures, ours, the difference and a word on it."""
    return [{"table": number} | compare(row) for row in TABLES[number].rows]


def compare(row: Row) -> dict[str, Any]:
    """One row: ``name``, ``paper``, ``ours``, ``difference_percent`` of the mult-adds and ``note``.

    Figures are counts, in Table 2 also shares as fractions of one; ``ours`` is None where nothing can
    be built. ``difference_percent_parameters`` is the like of ``difference_percent``.
    """
    paper: dict[str, Any] = dict(row.accuracy)
    suffix = "_share" if row.kind else ""
    for what in ("mult_adds", "parameters"):
        if getattr(row, what):
            paper[what + suffix] = _number(getattr(row, what))
    ours = _ours(row)
    differences = [_difference(paper, ours, what + suffix) for what in ("mult_adds", "parameters")]
    notes = (row.note, *_rounded(row, ours, differences))
    return {
        "name": row.name, "paper": paper, "ours": ours, "difference_percent": differences[0],
        "difference_percent_parameters": differences[1], "note": "; ".join(note for note in notes if note),
    }


def _number(printed: str) -> int | float:
    """``569 M`` as 569000000, ``94.86 %`` as 0.9486."""
    digits, unit = printed.split()
    value = Decimal(digits) * UNITS[unit]
    return float(value) if unit == "%" else int(value)


def _ours(row: Row) -> dict[str, Any] | None:
    """What the network of a row costs, really built and counted."""
    if row.network is None:
        return None
    total = network_cost(row.network)
    if not row.kind:
        return {"mult_adds": total.mult_adds, "parameters": total.parameters}
    share = total.kinds()[row.kind]
    return {
        "mult_adds": share.mult_adds, "parameters": share.weights,
        "mult_adds_share": round(share.mult_adds / total.mult_adds, 6),
        "parameters_share": round(share.weights / total.weights, 6),
    }


@cache
def network_cost(network: Network) -> Cost:
    """The cost of a network of the paper; each is built once."""
    return cost(build_network(network), network.resolution)


def _difference(paper: dict[str, Any], ours: dict[str, Any] | None, what: str) -> float | None:
    """Ours over the paper's, less one, in percent."""
    if ours is None or what not in paper:
        return None
    return round(100 * (float(ours[what]) / float(paper[what]) - 1), 2)


def _rounded(row: Row, ours: dict[str, Any] | None, differences: list[float | None]) -> Iterator[str]:
    """A word for each figure that differs only because the paper prints few digits."""
    for what, difference in zip(("mult_adds", "parameters"), differences, strict=True):
        printed = getattr(row, what)
        if ours is None or difference is None or abs(difference) <= TOLERANCE_PERCENT:
            continue
        if rounds_to(ours[what + ("_share" if row.kind else "")], printed):
            yield f"few digits in the paper: our {what.replace('_', '-')} round to {printed} too"


def rounds_to(count: float, printed: str) -> bool:
    """Whether a count has the printed value, at the printed number of digits."""
    digits, unit = printed.split()
    return (Decimal(str(count)) / UNITS[unit]).quantize(Decimal(digits)) == Decimal(digits)


def one_network(
    *, width: float | None = None, resolution: int | None = None, classes: int = 1000, shallow: bool = False,
    full_convolution: bool = False, backbone: str = OURS, layers: bool = False,
) -> dict[str, Any]:
    """A row about one network, with its kinds of layers and, if wanted, each layer.

    Args:
        width: multiplier of the channels, above 0; None for 1.0. Of MobileNetV1 only.
        resolution: side of the image in pixels, from 32 up; None for what the network is made for.
        classes: outputs of the classifier; 0 for the trunk alone.
        shallow, full_convolution: the networks of Tables 5 and 4. Of MobileNetV1 only.
        backbone: ``mobilenetv1``, a name of timm's, or one of the paper's comparators.
        layers: list every layer, in the order in which they run.

    Raises:
        ValueError: a value is out of its range, there is no such network, or another network than
            MobileNetV1 is to have a width.
    """
    _check("--resolution", resolution, MIN_SIZE_PX, MAX_SIZE_PX)
    _check("--classes", classes, 0, MAX_CLASSES)
    if width is not None and not 0 < width <= MAX_WIDTH:
        raise ValueError(f"--width must be above 0 and up to {MAX_WIDTH}, got {width:g}")
    if backbone != OURS:
        if width is not None or shallow or full_convolution:
            raise ValueError(
                f"--width, --shallow and --full-convolution are of {OURS}; leave them out with "
                f"--backbone {backbone}"
            )
        model, side = named_backbone(backbone, classes, resolution)
        return _described({"name": f"{backbone}-{side}, {_outputs(classes)}"}, cost(model, side), layers)
    network = Network(
        width=1.0 if width is None else width, resolution=resolution or 224, classes=classes,
        separable=not full_convolution, shallow=shallow,
    )
    return _described(_own_row(network), network_cost(network), layers)


def _check(flag: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValueError(f"{flag} must be {low:g} to {high:g}, got {value}")


def _outputs(classes: int) -> str:
    return f"{classes} classes" if classes else "no classifier"


def _own_row(network: Network) -> dict[str, Any]:
    """The row of a MobileNetV1; with the paper's figures where it has this very network."""
    kind = "shallow " * network.shallow + "full-convolution " * (not network.separable)
    name = f"{kind}MobileNetV1 {float(network.width)}-{network.resolution}, {_outputs(network.classes)}"
    rows = [row for table in TABLES.values() for row in table.rows if row.network == network and not row.kind]
    return (compare(rows[0]) if rows else {}) | {"name": name}


def _described(row: dict[str, Any], total: Cost, layers: bool) -> dict[str, Any]:
    """The row with kinds, convention and, if wanted, layers."""
    ours = {"mult_adds": total.mult_adds, "parameters": total.parameters}
    start: dict[str, Any] = {
        "name": "", "paper": {}, "ours": ours, "difference_percent": None, "note": _uncounted(total),
    }
    row = start | row
    row |= {"weights": total.weights, "kinds": {
        kind: {
            "mult_adds": item.mult_adds, "parameters": item.parameters, "weights": item.weights,
            "mult_adds_share": round(item.mult_adds / max(total.mult_adds, 1), 6),
            "weights_share": round(item.weights / max(total.weights, 1), 6),
        } for kind, item in total.kinds().items()
    }, "convention": CONVENTION}
    if layers:
        row["layers"] = [
            {
                "name": layer.name,
                "kind": layer.kind,
                "mult_adds": layer.mult_adds,
                "parameters": layer.parameters,
                "output": list(layer.output),
                "runs": layer.runs,
            }
            for layer in total.layers
        ]
    return row


def _uncounted(total: Cost) -> str:
    """A word on what the convention leaves out of this network."""
    if not total.unused:
        return ""
    return (
        f"{len(total.unused)} layers have parameters but did not run by themselves, so their mult-adds are "
        f"not counted: {total.unused[0]}" + (", ..." if len(total.unused) > 1 else "")
    )
