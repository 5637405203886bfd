"""Seeded damage to bytes, words and JSON."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

DEEP = "<deep>"  # stands for lists in lists, which json.dumps could not write
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    255,
    256,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63),
    2**200,
    0.5,
    -0.0,
    1e-9,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a",
    "x" * 5000,
    "\0",
    "\ud800",
    "nan",
    "1e999",
    "../../etc/passwd",
    "/dev/zero",
    "/dev/null",
    ".",
    [],
    {},
    [[]],
    [None],
    {"": None},
    DEEP,
)
ODD_WORDS = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e999",
    "9" * 40,
    "9" * 5000,
    "0x10",
    "1,5",
    "\0",
    "\ufeff",
    '"',
    "'",
    "\\",
    "..",
    "../../etc/passwd",
    "/dev/zero",
    "é",
    "\u2028",
    "<a>",
    "{",
    "[",
    "]",
    "}",
    ",",
    ";",
    "\t",
    "#",
    ":",
    "|",
    "[" * 3000,
    "true",
    "null",
    "None",
    "&x;",
    "!!python/object/apply:os.getcwd []",
    "*a",
    "&a",
    "- - - -",
    "=",
    "%",
)
NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
    2**33,
)
WORD = re.compile(rb"[\w.+-]+|[^\w\s]")


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes: bits, runs, lengths, cuts."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change(result, rng)
    return bytes(result)


def _change(data: bytearray, rng: random.Random) -> None:
    size = len(data)
    at, run = rng.randrange(size + 1), min(rng.choice((1, 1, 2, 4, 8, 64, 512)), max(1, size))
    near = rng.randrange(min(size, 256) + 1) if rng.random() < 0.4 else at  # headers are at the start
    match rng.randrange(8):
        case 0 if size:
            data[near % size] ^= 1 << rng.randrange(8)
        case 1 if size:
            data[near % size] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        case 2:
            code = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            packed = struct.pack(code, rng.choice(NUMBERS) % 2 ** (8 * struct.calcsize(code)))
            data[near : near + len(packed)] = packed
        case 3:
            del data[at : at + run]
        case 4:
            data[near:near] = rng.randbytes(run)
        case 5:
            start = rng.randrange(size + 1)
            data[at:at] = data[start : start + run]
        case 6:
            data[near : near + run] = bytes([rng.choice((0, 0xFF, 0x20, 0x41))]) * run
        case _ if rng.random() < 0.3:
            del data[at:]
        case _ if size > 1:
            a, b = sorted((rng.randrange(size), rng.randrange(size)))
            data[a:b] = data[a:b][::-1] if b - a < 64 else rng.randbytes(min(b - a, 16)) + data[a + 16 : b]


def of_text(data: bytes, rng: random.Random) -> bytes:
    """Words, fields and lines changed, left out, doubled and swapped; now and then bytes."""
    if rng.random() < 0.2:
        return of_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _change_text(data, rng)
    return data


def _change_text(data: bytes, rng: random.Random) -> bytes:
    words, lines = list(WORD.finditer(data)), data.split(b"\n")
    odd = rng.choice(ODD_WORDS).encode()
    match rng.randrange(8):
        case 0 | 1 | 2 if words:
            word = rng.choice(words)
            return data[: word.start()] + odd + data[word.end() :]
        case 3:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice([*lines, odd, b""]))
        case 4:
            del lines[rng.randrange(len(lines))]
        case 5:
            a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
        case 6:
            return {
                0: data[: rng.randrange(len(data) + 1)],
                1: b"\xef\xbb\xbf" + data,
                2: data.replace(b"\n", b"\r"),
                3: data.decode("utf-8", "replace").encode("utf-16"),
                4: data.replace(b",", b";"),
            }[rng.randrange(5)]
        case _:
            at = rng.randrange(len(data) + 1)
            return data[:at] + rng.choice((odd, b"\xff\xfe", b"\xc3", b"\x00")) + data[at:]
    return b"\n".join(lines)


def of_json(data: bytes, rng: random.Random) -> bytes:
    """A value of a document replaced, left out, or under another name; now and then its text is damaged."""
    if rng.random() < 0.2:
        return of_text(data, rng)
    try:
        document = json.loads(data)
    except ValueError:  # a line of JSON each
        lines = data.split(b"\n")
        at = rng.choice([n for n, line in enumerate(lines) if line.strip()] or [0])
        lines[at] = of_json(lines[at], rng) if _is_json(lines[at]) else of_text(lines[at], rng)
        return b"\n".join(lines)
    for _ in range(rng.choice((1, 1, 2))):
        document = _change_value(document, rng)
    depth = rng.choice((1000, 100_000))
    return json.dumps(document).replace(f'"{DEEP}"', "[" * depth + "]" * depth).encode()


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _change_value(document: Any, rng: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    if not places or rng.random() < 0.03:
        return deepcopy(rng.choice(ODD_VALUES))
    node, key = rng.choice(places)
    action = rng.random()
    if action < 0.75:
        node[key] = deepcopy(rng.choice(ODD_VALUES))  # else the next change is one of the list above
    elif action < 0.87:
        del node[key]
    elif isinstance(node, dict):
        node[rng.choice([*node, "pretrained", "path", "", "\0"])] = node.pop(key)
    else:
        node.insert(key, node[rng.randrange(len(node))])
    return document
