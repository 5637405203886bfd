"""A reader of the output that is gone, as ``head`` after its last line: kept apart from all other faults."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from datasets.outside import FULL, DiskError

CLOSED_PIPE = 141  # the exit code: 128 and the number of SIGPIPE, as a shell reports it


class ClosedPipeError(Exception):
    """Whoever read stdout or stderr is gone."""


class Deferred(click.Command):
    """Stands for a command that is made when it is asked for.

    Args:
        name: of the command.
        make: makes it.
    """

    def __init__(self, name: str, make: Callable[[], click.Command]) -> None:
        super().__init__(name)
        self.make = make


class PipeAwareGroup(click.Group):
    """A command line that says when its reader is gone; click would exit with 1 as if it had failed."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As click's; a command that was put off is made."""
        command = super().get_command(ctx, cmd_name)
        return command.make() if isinstance(command, Deferred) else command

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """As click's; the texts of ``--help`` and ``--version`` are written in it."""
        with closed_pipes():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with closed_pipes():
            return super().invoke(ctx)


@contextmanager
def closed_pipes() -> Iterator[None]:
    """Turn the errors of a closed stdout or stderr into :class:`ClosedPipeError`.

    Raises:
        ClosedPipeError: the reader of stdout or stderr is gone.
        ConnectionError: another pipe broke, such as that to a process that read images.
    """
    try:
        yield
    except BrokenPipeError as err:
        if any(map(reader_is_gone, (sys.stdout, sys.stderr))):
            raise ClosedPipeError from err
        raise ConnectionError(
            "a process that this one worked with ended early and closed its pipe; start the command again"
        ) from err
    except DiskError:
        raise
    except OSError as err:
        if err.errno in FULL and err.filename is None:
            raise DiskError(err.errno, os.strerror(err.errno), "the output (stdout or stderr)") from err
        raise
    except SystemExit as err:
        if isinstance(err.__context__, BrokenPipeError):  # rich makes an exit with 1 of it
            raise ClosedPipeError from err
        raise


def reader_is_gone(stream: Any) -> bool:
    """Whether a stream writes into a pipe that nobody reads any more."""
    try:
        handle = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no stream, none of the system's, or a closed one
        return False
    if not hasattr(select, "poll"):
        return True  # Windows cannot be asked
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def discard_output() -> int:
    """Send what is left to write nowhere, so that the interpreter's end is silent; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if reader_is_gone(stream):
            _to_nowhere(stream)
    return CLOSED_PIPE


def ended(run: Callable[[], int]) -> int:
    """The exit code of a command line, after all that it wrote is out."""
    try:
        with closed_pipes():
            return _flushed(run())
    except ClosedPipeError:
        return discard_output()
    except DiskError:  # not even the line that says so could be written
        return _flushed(1)


def _flushed(code: int) -> int:
    """The exit code after all is written; 1 where a full disk did not take it, and the rest goes nowhere.

    Raises:
        BrokenPipeError: the reader is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            _to_nowhere(stream)
            code = code or 1
    return code


def _to_nowhere(stream: Any) -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream.fileno())
    os.close(sink)
