"""The process that answers for a :class:`apps.engine.scale.guard.Guard`; it says what it has at hand."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from apps.engine.scale.answering import Answers, Line
from apps.engine.scale.images import Item, images_of
from apps.engine.scale.shards import Shard

Say = Callable[[tuple[Any, ...]], None]
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
FIRST_TO_GO = "800"  # where memory is short, rather this process than the one that starts it again


def shard_lines(
    answers: Answers, shard: Shard, start: int = 0, alone: bool = False, say: Say = lambda _: None
) -> Iterator[list[Line]]:
    """The lines of a shard's images, some at a time.

    Args:
        answers: what answers.
        shard: the images.
        start: images that are done already.
        alone: give one image at a time.
        say: takes ``("at", (first, after), name)`` before some images are answered for.

    Raises:
        StoreError: a store does not answer.
    """
    many = 1 if alone else max(answers.batch, 1)
    items, first = islice(images_of(shard), start, None), start
    while some := list(islice(items, many)):
        say(("at", (first, first + len(some)), some[0].name))
        yield _lines(answers, some)
        first += len(some)


def _lines(answers: Answers, items: list[Item]) -> list[Line]:
    contents = [item.content for item in items if not item.error]
    answered = iter(answers.lines(contents) if contents else ())
    return [
        {"path": item.name, "error": item.error} if item.error else {"path": item.name, **next(answered)}
        for item in items
    ]


def serve(pipe: Connection[Any, Any]) -> None:
    """Answer for the shards that come through a pipe, until it is closed."""
    answers: Answers = pipe.recv()
    loaded = False
    while True:
        try:
            shard, start, alone = pipe.recv()
        except EOFError:
            return
        try:
            if not loaded:
                answers.lines(())  # what it loads is no image's fault
                loaded = True
            for lines in shard_lines(answers, shard, start, alone, pipe.send):
                pipe.send(("lines", lines))
            pipe.send(("done",))
        except (EOFError, ConnectionError):
            return
        except Exception as err:  # it is raised again on the other side
            pipe.send(("error", err))


def _follow_parent() -> None:
    """End with the process that started this one, whatever hangs; go first where memory is short."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that started this one


if __name__ == "__main__":
    _follow_parent()
    serve(Connection(int(sys.argv[1])))
