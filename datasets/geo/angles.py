"""Angles as people write them."""

from __future__ import annotations

import re

_DEGREES = re.compile(
    r"(?P<before>[NSEW])?\s*(?P<sign>[+-])?(?P<degrees>\d+(?:\.\d+)?)\s*[°º]?\s*"
    r"(?:(?P<minutes>\d+(?:\.\d+)?)\s*['′’]\s*(?:(?P<seconds>\d+(?:\.\d+)?)\s*[\"″”]\s*)?)?"
    r"(?P<after>[NSEW])?", re.IGNORECASE,
)


def degrees(text: str, letters: str) -> float:
    """An angle as people write it: ``48.85°``, ``33.87 S``, ``N 48°51'24"``; NaN where it is none.

    Args:
        text: the angle.
        letters: what may stand for plus and for minus, as NS; none for no letters.
    """
    match = _DEGREES.fullmatch(text.strip().replace("\u2212", "-"))
    if match is None:
        return float("nan")
    part = match.groupdict()
    letter = ((part["before"] or "") + (part["after"] or "")).upper()
    minutes, seconds = (float(part[key] or 0) for key in ("minutes", "seconds"))
    split = part["minutes"] is not None
    strange = letter and (letter not in tuple(letters) or part["sign"])
    if strange or max(minutes, seconds) >= 60 or (split and "." in part["degrees"]):
        return float("nan")
    value = float(part["degrees"]) + minutes / 60 + seconds / 3600
    negative = part["sign"] == "-" or (letter != "" and letter == letters[1])
    return -value if negative else value
