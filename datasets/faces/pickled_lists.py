"""Lists of bytes and booleans out of a pickle, read as data: nothing that it names is looked up or called."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_BYTE_TYPES = {"u1", "|u1", "uint8", "b1", "|b1", "bool", "i1", "|i1", "int8", "?", "B", "S1"}
_MARK = object()
_NOTHING = object()  # what a value of no use to us is
_LONGEST_LINE = 1 << 16


class PickleError(ValueError):
    """The bytes are no whole pickle of such lists."""


class UnsafeError(PickleError):
    """They ask for something else, which the message names: perhaps for code to be run."""


@dataclass(frozen=True)
class _Name:
    """A name in the file; only those of :meth:`_Reader.applied` mean something."""

    module: str
    name: str


@dataclass
class _Array:
    """An array of single bytes, with its content once that is read."""

    content: bytes = b""


@dataclass(frozen=True)
class _Type:
    """The type of an array's numbers."""

    name: str


def read_lists(data: bytes) -> Any:
    """What a pickle holds, of tuples, lists, bytes, texts, whole numbers and booleans.

    Arrays of single bytes come as ``bytes``, and bytes of numpy's booleans as whole numbers. Every other
    object is refused, and so is a name that such values do not need.

    Args:
        data: of the file, whole.

    Raises:
        UnsafeError: it asks for something else.
        PickleError: it is cut off or damaged.
    """
    reader = _Reader(data)
    try:
        return _plain(reader.read())
    except PickleError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, OverflowError) as err:
        raise PickleError(f"damaged near byte {reader.at:,}") from err


def _plain(value: Any) -> Any:
    """The value with its arrays as bytes: of the outer pair and of the lists in it, no deeper."""
    if isinstance(value, _Array):
        return value.content
    if isinstance(value, list | tuple):
        return [[_leaf(item) for item in p] if isinstance(p, list | tuple) else _leaf(p) for p in value]
    raise PickleError("it holds no lists")


def _leaf(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.content
    if isinstance(value, bytes | int):
        return value
    raise PickleError("it holds something else than bytes and booleans")


class _Reader:
    """A stack of values, as a pickle's opcodes ask for it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.made = 0  # bytes that are copies of others, which a small file could ask for without end

    def read(self) -> Any:
        """The value on top of the stack where the pickle stops."""
        while True:
            code = self.taken(1)
            if code == b".":
                return self.stack.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise UnsafeError(f"it has the opcode {code!r}, which lists of bytes do not need")
            action(self)

    def taken(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.data) - self.at:
            raise PickleError("it is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int, *, signed: bool = False) -> int:
        """The next bytes as a little-endian number."""
        return int.from_bytes(self.taken(size), "little", signed=signed)

    def line(self) -> bytes:
        """The next bytes up to the end of a line."""
        end = self.data.find(b"\n", self.at, self.at + len(self.data))
        if end < 0:
            raise PickleError("it is cut off")
        start, self.at = self.at, end + 1
        return self.data[start:end]

    def short_line(self) -> str:
        """The same as a text, of a name or a number."""
        raw = self.line()
        if len(raw) > _LONGEST_LINE:
            raise PickleError("a name or a number in it has no end")
        return raw.decode("ascii")

    def marked(self) -> list[Any]:
        """The values down to the last mark, which go."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise PickleError("it has no mark")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def tuple_of(self, count: int) -> None:
        """The last values as a tuple."""
        values = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def extend(self, values: list[Any]) -> None:
        """Add values to the list below them."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleError("it adds to what is no list")
        target += values

    def add_last(self) -> None:
        """Add the last value to the list below it."""
        value = self.stack.pop()
        self.extend([value])

    def quoted(self) -> None:
        """A string of the first protocol, in quotation marks and with escapes."""
        raw = self.line()
        if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
            raise PickleError("a string in it has no quotation marks")
        self.stack.append(self.copied(codecs.escape_decode(raw[1:-1])[0]))

    def plain_number(self) -> None:
        """A number in words, or a boolean of the first protocol."""
        word = self.short_line()
        self.stack.append(word == "01" if word in ("00", "01") else int(word.rstrip("L")))

    def copied(self, value: bytes) -> bytes:
        """Bytes that were made of others; together no more than the file has.

        Raises:
            PickleError: there are more.
        """
        self.made += len(value)
        if self.made > len(self.data):
            raise PickleError("it unpacks to more than it is")
        return value

    def apply(self) -> None:
        """A name and its arguments: what :meth:`applied` makes of them."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no name")
        self.stack.append(self.applied(name, arguments))

    def applied(self, name: _Name, arguments: tuple[Any, ...]) -> Any:
        """The value that a few names of Python and numpy stand for; none of them is called."""
        if name == _Name("_codecs", "encode") and isinstance(arguments[0], str):
            return self.copied(arguments[0].encode("latin-1"))
        if name.module in ("builtins", "__builtin__") and name.name in ("bytes", "bytearray"):
            return arguments[0] if arguments and isinstance(arguments[0], bytes) else b""
        if name == _Name("numpy", "dtype"):
            return _byte_type(arguments[0])
        if name.module in _ARRAYS and name.name == "_reconstruct":
            return _Array()
        if name.module in _ARRAYS and name.name == "scalar" and isinstance(arguments[0], _Type):
            return int.from_bytes(_content(arguments[1]), "little")
        if name.module in _ARRAYS and name.name == "_frombuffer" and isinstance(arguments[1], _Type):
            return _Array(_content(arguments[0]))
        raise UnsafeError(f"it asks for {name.module}.{name.name}")

    def build(self) -> None:
        """The state of an array, (version, shape, type, order, bytes); a type's is of no use."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, _, what, _, content = state
            if not isinstance(what, _Type):
                raise PickleError("it has an array of other than bytes")
            target.content = _content(content)
        elif not isinstance(target, _Type):
            raise PickleError("it sets the state of what is no array")

    def named(self, module: Any, name: Any) -> None:
        """A name, as yet without meaning."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("it has a name that is none")
        self.stack.append(_Name(module, name))

    def named_by_stack(self) -> None:
        """The same with its two parts on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.named(module, name)


def _byte_type(name: Any) -> _Type:
    word = name.decode("ascii") if isinstance(name, bytes) else name
    if not isinstance(word, str) or word not in _BYTE_TYPES:
        raise PickleError(f"it has numbers of the type {str(word)[:20]!r}, not bytes")
    return _Type(word)


def _content(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise PickleError("it has an array without bytes")
    return value


def _text(encoding: str, data: bytes) -> str:
    return data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")


def _push(value: Callable[[_Reader], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value(reader))


def _put(number: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    def act(reader: _Reader) -> None:
        reader.memo[number(reader)] = reader.stack[-1]

    return act


def _get(number: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.memo[number(reader)])


_ACTIONS: dict[bytes, Callable[[_Reader], Any]] = {
    b"\x80": lambda r: r.taken(1), b"\x95": lambda r: r.taken(8), b"(": _push(lambda _: _MARK),
    b"0": lambda r: r.stack.pop(), b"N": _push(lambda _: _NOTHING),
    b"]": _push(lambda _: []), b"l": _push(lambda r: r.marked()), b"a": _Reader.add_last,
    b"e": lambda r: r.extend(r.marked()), b")": _push(lambda _: ()), b"t": _push(lambda r: tuple(r.marked())),
    b"\x85": lambda r: r.tuple_of(1), b"\x86": lambda r: r.tuple_of(2), b"\x87": lambda r: r.tuple_of(3),
    b"C": _push(lambda r: r.taken(r.number(1))), b"B": _push(lambda r: r.taken(r.number(4))),
    b"\x8e": _push(lambda r: r.taken(r.number(8))), b"\x96": _push(lambda r: r.taken(r.number(8))),
    b"U": _push(lambda r: r.taken(r.number(1))), b"T": _push(lambda r: r.taken(r.number(4))),
    b"S": _Reader.quoted, b"V": _push(lambda r: _text("raw-unicode-escape", r.line())),
    b"X": _push(lambda r: _text("utf-8", r.taken(r.number(4)))),
    b"\x8c": _push(lambda r: _text("utf-8", r.taken(r.number(1)))),
    b"\x8d": _push(lambda r: _text("utf-8", r.taken(r.number(8)))),
    b"\x88": _push(lambda _: True), b"\x89": _push(lambda _: False), b"I": _Reader.plain_number,
    b"L": _Reader.plain_number, b"J": _push(lambda r: r.number(4, signed=True)),
    b"K": _push(lambda r: r.number(1)), b"M": _push(lambda r: r.number(2)),
    b"\x8a": _push(lambda r: r.number(r.number(1), signed=True)),
    b"p": _put(lambda r: int(r.short_line())), b"q": _put(lambda r: r.number(1)),
    b"r": _put(lambda r: r.number(4)), b"\x94": _put(lambda r: len(r.memo)),
    b"g": _get(lambda r: int(r.short_line())), b"h": _get(lambda r: r.number(1)),
    b"j": _get(lambda r: r.number(4)),
    b"c": lambda r: r.named(r.short_line(), r.short_line()), b"\x93": _Reader.named_by_stack,
    b"R": _Reader.apply, b"b": _Reader.build,
}


def as_flags(values: Any) -> list[bool]:
    """A list of booleans, or the bytes of an array of them."""
    return [bool(value) for value in values]
