"""A report is the last thing that is written: one that fails costs neither the run nor the answer."""

from __future__ import annotations

from collections.abc import Callable

from apps.engine.core.console import Console

METRICS_COMPLETE = "the metrics are complete"


def try_report(write: Callable[[], object], console: Console, otherwise: str) -> None:
    """Write a report, or say in one line what went wrong, which ends the command with 1 after its answer.

    Args:
        write: writes it.
        console: takes the line.
        otherwise: what is complete without the report, and how to write it again.
    """
    try:
        write()
    except Exception as err:
        reason = str(err) if isinstance(err, OSError) else f"{type(err).__name__}: {err}"
        console.fail(f"the report could not be written ({' '.join(reason.split())}); {otherwise}")
