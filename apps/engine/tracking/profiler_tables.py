"""A profile for reading: three tables and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.engine.reporting.markdown import aligned

NAME_WIDTH = 64


def profile_text(results: dict[str, Any]) -> str:
    """The results of a profile as plain text.

    Args:
        results: as in ``profile.json``.
    """
    stages = sorted(results["stages"].items(), key=lambda item: -item[1]["seconds"])
    parts = [
        f"torch {results['torch']}, {results['threads']} threads",
        _table(
            f"Stages: wall time of {results['steps']} steps and all between them, after the warm-up, without "
            "the steps looked at below",
            ("stage", "seconds", "share", "times"),
            [
                (name, f"{item['seconds']:.3f}", _percent(item), str(item["count"] or ""))
                for name, item in stages
            ],
        ),
    ]
    if results["layers"]:
        parts.append(
            _table(
                f"Forward by kind of layer: a step, mean of {results['layer_steps']}; what is no module of "
                "its own, such as ReLU6, is not in it",
                ("kind", "ms", "share", "layers"),
                [
                    (kind, _ms(layer), _percent(layer), f"{layer['calls']:g}")
                    for kind, layer in results["layers"].items()
                ],
            )
        )
    if results["operators"]:
        for key, apart in (("operators", ""), ("operators_by_shape", ", told apart by shape")):
            parts.append(
                _table(
                    f"Operators by their own CPU time{apart}: a step, mean of {results['operator_steps']}, "
                    "on the thread that calls them",
                    ("operator", "ms", "share", "calls"),
                    [
                        (_operator(result), _ms(result), _percent(result), f"{result['calls']:g}")
                        for result in results[key]
                    ],
                )
            )
    else:
        parts.append("The training was too short for a look at operators.")
    return "\n\n".join(parts) + "\n"


def _operator(results: dict[str, Any]) -> str:
    shapes = " ".join(
        "x".join(map(str, shape)) for shape in results.get("shapes", ()) if isinstance(shape, list)
    )
    text = f"{results['name']} {shapes}".strip()
    return text if len(text) <= NAME_WIDTH else text[:NAME_WIDTH - 3] + "..."


def _ms(results: dict[str, Any]) -> str:
    return f"{1000 * results['seconds']:.2f}"


def _percent(results: dict[str, Any]) -> str:
    return f"{100 * results['share']:.1f} %"


def _table(title: str, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([title, *aligned([heading, *rows])])
