"""Whether a process that a file names is still there."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

CLOCK_SLACK_SECONDS = 60  # the start of a process is known against the boot, and clocks are set


def this_machine() -> str:
    """Tells this machine from others, and does not tell its name: a run's folder is given to others."""
    return hashlib.sha256(f"machine {socket.gethostname()}".encode()).hexdigest()[:16]


def is_alive(pid: int, seen: float | None = None) -> bool:
    """Whether a process of this machine lives, and is not a later one of the same number.

    Args:
        pid: of the process, 1 up.
        seen: when it is known to have run, seconds since 1970; one that began later is another. Where
            the machine has no ``/proc`` this is not looked at.
    """
    with suppress(PermissionError):  # somebody else's, but there
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return True
    fields = line.rpartition(")")[2].split()  # the name before it may hold blanks
    began = (int(boot[1]) if boot else 0) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] != "Z" and (seen is None or began <= seen + CLOCK_SLACK_SECONDS)
