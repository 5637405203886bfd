"""What became of a damaged file: read, refused in a line of ours, or anything else."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
ROOMS = tuple(f"{ROOT / room}/" for room in ("apps", "backbone", "heads", "datasets"))
READ, REFUSED, UNFORESEEN, CRASH, HANG = "read", "refused", "unforeseen", "crash", "hang"


@dataclass(frozen=True)
class Outcome:
    """Of one damaged file.

    Args:
        what: one of the five above.
        where: file and line in the project that the error came through, and its type.
        text: of the error; for a person.
    """

    what: str
    where: str = ""
    text: str = ""


def outcome_of(read: Callable[[], object], path: Path) -> Outcome:
    """Read a file and say what came of it."""
    try:
        read()
    except Exception as err:
        return _of_error(err, path)
    return Outcome(READ)


def _of_error(err: Exception, path: Path) -> Outcome:
    """Refused is what our code raised in so many words: one line that names the file or its folder."""
    frames = list(_frames(err.__traceback__))
    text = str(err.args[0]) if isinstance(err, KeyError) and err.args else str(err)
    fault = _fault(err, text, path, bool(frames) and _raises(*frames[-1]))
    place = next(((file, line) for file, line in reversed(frames) if file.startswith(ROOMS)), ("?", 0))
    where = f"{type(err).__name__} at {place[0].removeprefix(f'{ROOT}/')}:{place[1]}"
    if not fault:
        return Outcome(REFUSED, where, text)
    last = "".join(traceback.format_exception(err)[-4:])
    return Outcome(UNFORESEEN, where, f"{fault}: {last[-1500:]}")


def _fault(err: Exception, text: str, path: Path, ours: bool) -> str:
    """What is wrong with an error as the answer to a damaged file; empty where nothing is."""
    if not isinstance(err, OSError | ValueError | KeyError) and type(err).__name__ not in ("BadParameter",):
        return "of a kind that nobody foresaw"
    if not ours:
        return "not raised by our code"
    if not any(part in text for part in (path.name, path.parent.name, str(Path(*path.parts[:4])))):
        return "does not say which file"
    return ""


def _frames(chain: TracebackType | None) -> list[tuple[str, int]]:
    results = []
    while chain is not None:
        results.append((chain.tb_frame.f_code.co_filename, chain.tb_lineno))
        chain = chain.tb_next
    return results


def _raises(file: str, line: int) -> bool:
    """Whether that line of the project stands in a ``raise``."""
    return file.startswith(ROOMS) and any(first <= line <= last for first, last in _raise_lines(file))


@cache
def _raise_lines(file: str) -> tuple[tuple[int, int], ...]:
    nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
    return tuple(
        (node.lineno, node.end_lineno or node.lineno) for node in nodes if isinstance(node, ast.Raise)
    )
