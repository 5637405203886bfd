"""Values of files that others wrote: of the right kind and within bounds, or refused in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.outside import whole_file
from datasets.tables import decoded

LARGEST_PX = 1e7  # of any coordinate: far above any photo, far below what sums and products can hold
LARGEST_ID = 2**53
MOST_DIGITS = 16


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is no JSON, for example cut off.
    """
    text_of = read_text(path)
    try:
        return json.loads(text_of)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path} is no whole JSON file ({err}); fetch or write it again") from err


def read_text(path: Path) -> str:
    """What a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one, holds.

    Raises:
        ValueError: it is no such text.
    """
    return decoded(whole_file(path), path).replace("\r\n", "\n").replace("\r", "\n")


def entries(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """A list of objects that a JSON file holds under a key.

    Raises:
        ValueError: it is something else.
    """
    result = data[key]
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise ValueError(f"{path}: {key} must be a list of objects, as in COCO's files")
    return result


def whole(value: Any, what: str, low: int = -LARGEST_ID, high: int = LARGEST_ID) -> int:
    """A whole number.

    Raises:
        ValueError: it is none, or outside ``low`` to ``high``; ``what`` names it in the message.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        bounds = f" of {low:,} to {high:,}" if low > -LARGEST_ID else ""
        raise ValueError(f"{what} must be a whole number{bounds}, got {short(value)}")
    return value


def plain_numbers(item: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """An object of a JSON file with whole numbers where texts, or 1.0, stand for them.

    Args:
        item: the object; it stays as it is.
        keys: of the numbers; other values are not looked at.
    """
    results = dict(item)
    for key in keys:
        value = item.get(key)
        plain = str(value).strip().removesuffix(".0") if isinstance(value, str | float) else ""
        if plain.isascii() and plain.isdecimal() and len(plain) < MOST_DIGITS:
            results[key] = int(plain)
    return results


def finite(value: Any, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number; of a file without types, its text.

    Raises:
        ValueError: it is none, or outside ``low`` to ``high``; ``what`` names it in the message.
    """
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result) or not low <= result <= high:
        bounds = f" of {low:,.12g} or more" if math.isinf(high) and math.isfinite(low) else ""
        bounds = f" of {low:,.12g} to {high:,.12g}" if math.isfinite(low) and math.isfinite(high) else bounds
        raise ValueError(f"{what} must be a number{bounds}, got {short(value)}")
    return result


def text(value: Any, what: str) -> str:
    """Words.

    Raises:
        ValueError: it is something else, or empty; ``what`` names it in the message.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be words, got {short(value)}")
    return value


def four(value: Any, what: str) -> list[float]:
    """Four numbers of pixels in a list.

    Raises:
        ValueError: it is something else; ``what`` names it in the message.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        raise ValueError(f"{what} must be four numbers, got {short(value)}")
    if any(isinstance(item, str) for item in value):
        raise ValueError(f"{what} must be four numbers, got {short(value)}")
    return [finite(item, f"{what}: each number", -LARGEST_PX, LARGEST_PX) for item in value]


def short(value: Any) -> str:
    """A value in a message: one line, and no more than 60 letters of it."""
    try:
        words = repr(value)
    except ValueError:  # a number of too many digits to be written
        words = "a number too long to be written"
    return words if len(words) <= 60 else f"{words[:57]}..."
