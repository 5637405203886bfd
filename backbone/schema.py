"""What a file may say of a network: types and bounds, and every reader's failure as one line."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_PX = 2048  # side of an input: the largest networks of timm take 1024
LARGEST_WIDTH = 4.0  # a multiplier: 4 has 50 million parameters, 300 would have 290,000 million
LARGEST_PARAMETERS = 1 << 30  # of a network without weights: 4 GiB, what the largest but one of timm has
TIMM = "timm:"
_TIMM_NAME = re.compile(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)?")  # none of timm's prefixes for hubs and folders


@dataclass(frozen=True)
class Rule:
    """A value that is allowed.

    Args:
        fits: whether a value is.
        words: what it must be, for messages.
    """

    fits: Callable[[Any], bool]
    words: str


def number(low: float, high: float, *, whole: bool = False) -> Rule:
    """A finite number, or a whole one, from ``low`` to ``high``."""

    def fits(value: Any) -> bool:
        plain = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return plain and low <= value <= high

    return Rule(fits, f"a {'whole ' * whole}number from {low:g} to {high:g}")


def choice(*values: Any) -> Rule:
    """One of some values, and of its type."""
    return Rule(
        lambda value: any(type(value) is type(item) and value == item for item in values),
        f"one of {', '.join(map(repr, values))}",
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(item) is int for item in value)


def _three(value: Any, rule: Rule) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(rule.fits, value))


TEXT = Rule(lambda value: isinstance(value, str), "a text")
TEXTS = Rule(_texts, "a list of texts")
TABLE = Rule(lambda value: isinstance(value, Mapping), "a table")
_MEAN, _STD = number(-1000, 1000), number(1e-6, 1000)

PREPROCESSING = {
    "mean": Rule(lambda value: _three(value, _MEAN), "three finite numbers"),
    "std": Rule(lambda value: _three(value, _STD), "three numbers above 0"),
    "order": choice("rgb", "bgr"), "resolution": number(32, LARGEST_PX, whole=True), "crop": number(0.05, 1),
    "resize": choice("crop", "squash"),
}
INFO = {
    "name": TEXT, "arch": TEXT, "arguments": TABLE, "preprocessing": TABLE, "classes": TEXTS, "source": TEXT,
    "licence": TEXT, "head": TABLE,
}
# Of the networks' constructors: what changes their shape, and nothing that names a file or an address.
MOBILENET_ARGUMENTS = {
    "width": number(1e-3, LARGEST_WIDTH), "padding": choice("same", "symmetric"),
    "separable": choice(True, False), "shallow": choice(True, False), "output_stride": choice(8, 16, 32),
    "eps": number(0, 1), "activation": choice("relu6", "relu"),
}
TIMM_ARGUMENTS = {
    "img_size": number(32, LARGEST_PX, whole=True), "output_stride": choice(8, 16, 32),
    "pad_type": choice("", "same", "symmetric"), "drop_rate": number(0, 0.99),
    "drop_path_rate": number(0, 0.99),
}


HEAD = {
    "kind": TEXT, "arguments": TABLE, "classes": TEXTS,
    "category_ids": Rule(_numbers, "a list of whole numbers"),
}


def checked(
    values: Any, rules: Mapping[str, Rule], what: str, *, needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a table that a file holds, where each is known and fits.

    Args:
        values: perhaps a table.
        rules: by name.
        what: names it in messages.
        needed: names that must be there.

    Raises:
        ValueError: it is no table, lacks a value, has one that is not known, or one that does not fit.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must be a table, got {short(values)}")
    for name in needed:
        if name not in values:
            raise ValueError(f"{what} lacks {name}")
    for name, value in values.items():
        if name not in rules:
            known = ", ".join(rules)
            raise ValueError(f"{what} sets {short(name)}, which a file may not set; it may set: {known}")
        if not rules[name].fits(value):
            raise ValueError(f"{what}: {name} must be {rules[name].words}, got {short(value)}")
    return dict(values)


def checked_some(
    values: Any, rules: Mapping[str, Rule], what: str, *, needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """As :func:`checked`, of a table that may hold other values, too."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must be a table, got {short(values)}")
    some = {name: value for name, value in values.items() if name in rules}
    checked(some, rules, what, needed=needed)
    return dict(values)


def check_architecture(arch: str, arguments: Mapping[str, Any]) -> None:
    """Refuse a network that a file asks for, unless it is known and its arguments change its shape alone.

    Args:
        arch: ``mobilenetv1``, or ``timm:NAME``.
        arguments: of its constructor.

    Raises:
        ValueError: there is no such network, or it may not be built with such an argument.
    """
    if arch == "mobilenetv1":
        checked(arguments, MOBILENET_ARGUMENTS, f"the arguments of {arch}")
        return
    name = arch.removeprefix(TIMM)
    if not arch.startswith(TIMM) or not _TIMM_NAME.fullmatch(name):
        raise ValueError(f"there is no network {short(arch)}; known are mobilenetv1 and timm:NAME")
    checked(arguments, TIMM_ARGUMENTS, f"the arguments of {arch}")


def parse_json(text: str | bytes, where: object) -> Any:
    """What a JSON text holds; NaN and Infinity, which JSON has not, are refused.

    Args:
        text: of the document.
        where: it stands, for messages.

    Raises:
        ValueError: it is no JSON, or nested too deep; in one line.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as err:
        raise ValueError(f"{where} is no JSON of ours: it is nested too deep; restore it") from err
    except ValueError as err:
        raise ValueError(f"{where} is no whole JSON ({words_of(err)}); restore it") from err


def head_in(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a file says of the detector that it brings; empty where it brings none.

    Raises:
        ValueError: it is damaged, or lacks a part.
    """
    if "head" not in metadata:
        return {}
    try:
        values = parse_json(metadata["head"], "its head")
        head = checked(values, HEAD, "its head", needed=("kind", "arguments", "classes"))
        return {**head, "classes": list(head["classes"])}
    except (ValueError, KeyError) as err:
        raise ValueError(
            f"{path}: what it says of its head is damaged ({words_of(err)}); import or fetch it again"
        ) from err


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def regular_file(path: Path) -> Path:
    """The path of a file that may be opened: a FIFO would wait for ever, a device might never end.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is a folder, or no regular file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a pipe or a device, not a regular file; copy its content into a file")
    return path


@contextmanager
def one_line(path: object, mend: str, what: str = "cannot be read") -> Iterator[None]:
    """What a reader raises, as a line that names the file; a line that does so already passes.

    Args:
        path: of the file.
        mend: how to mend it.
        what: the file is, or is not.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except (ImportError, FileNotFoundError, PermissionError):
        raise
    except MemoryError as err:
        raise ValueError(f"{path} asks for more memory than there is; {mend}") from err
    except Exception as err:  # parsers of bytes that others wrote have no list of what they raise
        line = str(err)
        if type(err) in (ValueError, OSError, IsADirectoryError) and str(path) in line and "\n" not in line:
            raise
        raise ValueError(f"{path} {what} ({words_of(err)}); {mend}") from err


def words_of(err: BaseException) -> str:
    """An error's text on one line, of 200 letters at most."""
    if isinstance(err, KeyError) and err.args:
        return f"it lacks {err.args[0]!r}"
    text = " ".join(str(err).split())
    return (f"{text[:197]}..." if len(text) > 200 else text) or type(err).__name__


def short(value: object) -> str:
    """A value in a message: one line of 60 letters at most."""
    try:
        words = "nothing" if value is None else repr(value)
    except ValueError:  # a number of too many digits to be written
        words = "a number too long to be written"
    return words if len(words) <= 60 else f"{words[:57]}..."


def finite(value: object) -> bool:
    """Whether a value is a number that JSON has."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
