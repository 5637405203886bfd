"""Whether a server can be reached, known within seconds, also where the resolver of names does not answer."""

from __future__ import annotations

import queue
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_S = 1.75  # for the name and the connection together
_PORTS = {"http": 80, "https": 443}


def unreachable(url: str, seconds: float = CONNECT_S) -> str | None:
    """Why the server of an address cannot be reached; None if it can, or if the address is no http address.

    A proxy that the environment names is asked in its place. The system's resolver has no time limit, so it
    runs on a thread that is left behind where it takes too long.

    Args:
        url: http or https.
        seconds: to wait at most, above 0.
    """
    server = _server(_proxy(url) or url)
    if server is None:
        return None
    answers: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_connect(server, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} s"


def _server(url: str) -> tuple[str, int] | None:
    """Host and port of an http address; None for another."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or parts.scheme not in _PORTS:
        return None
    return host, port or _PORTS[parts.scheme]


def _proxy(url: str) -> str | None:
    """The proxy for an address, where the environment names one."""
    server = _server(url)
    proxy = getproxies().get(url.partition(":")[0])
    if server is None or not proxy or proxy_bypass(server[0]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _connect(server: tuple[str, int], seconds: float) -> str | None:
    try:
        socket.create_connection(server, timeout=seconds).close()
    except (OSError, UnicodeError) as err:
        return str(getattr(err, "strerror", None) or err)
    return None
