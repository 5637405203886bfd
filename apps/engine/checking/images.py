"""Images that cannot be read, and odd ones."""

from __future__ import annotations

from collections.abc import Sequence

from apps.engine.checking.fingerprints import Fingerprint
from apps.engine.data.problems import LEAVE_OUT, Move, Problem, Problems

LEAST_SIDE = 32  # px; networks see at least this
LONGEST = 8.0  # times the short side; more is cut before a network sees it
FLAT = 2.0  # levels of spread below which an image is of one colour


def image_problems(prints: Sequence[Fingerprint]) -> Problems:
    """Unreadable, odd and misnamed images.

    Args:
        prints: one an image.
    """
    bad = [
        Problem(f"{item.path}: {item.fault}", (), moves=(Move(item.path, LEAVE_OUT),))
        for item in prints if item.fault
    ]
    readable = [(item, _odd(item)) for item in prints if not item.fault]
    return {
        "unreadable_images": bad,
        "odd_images": [
            Problem(f"{item.path} is {why}", (item.path,), (why,)) for item, why in readable if why
        ],
        "wrong_suffix": [
            Problem(f"{item.path} is a {item.kind} file by its content", (item.path,), (item.kind,))
            for item, _ in readable if item.kind
        ],
    }


def _odd(item: Fingerprint) -> str:
    """What is odd about an image; empty where nothing is."""
    width, height = item.size
    if min(width, height) < LEAST_SIDE:
        return f"tiny: {width} x {height} pixels"
    if max(width, height) > LONGEST * min(width, height):
        return f"a strip: {width} x {height} pixels"
    return "of one colour" if item.spread < FLAT else ""
