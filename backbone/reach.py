"""What is out there: timm's names and its hub, and whether a server can be reached, known within seconds."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from backbone.pretrained import TIMM_DEFAULT
from backbone.storage import MIRROR_VARIABLE, SUFFIX

CONNECT_S = 1.75  # for the name and the connection together
_PORTS = {"http": 80, "https": 443}
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


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


def timm_may_have(name: str) -> bool:
    """Whether timm, which is slow to import, has to be asked for a network.

    Args:
        name: of the network, perhaps with a tag; one that no file of timm's holds is of none of its networks.
    """
    spec = find_spec("timm")
    wanted = name.partition(".")[0].encode()
    return spec is None or any(
        wanted in path.read_bytes()
        for folder in spec.submodule_search_locations or () for path in Path(folder, "models").glob("*.py")
    )


def no_such_name(name: str, others: Sequence[str]) -> FileNotFoundError:
    """The error of a name that nothing is known by."""
    return FileNotFoundError(
        f"{name!r} is neither a file nor a known name; known: {', '.join(others[:4])}, ... "
        f"(python cli.py weights list), and every pretrained name of timm, such as {TIMM_DEFAULT}"
    )


def check_timm_name(name: str, others: Sequence[str]) -> None:
    """Refuse what timm has no pretrained weights of.

    Args:
        name: of a network with the tag of its weights.
        others: names that are known besides, for the message.

    Raises:
        FileNotFoundError: there are none.
    """
    if not timm_may_have(name):
        raise no_such_name(name, others)
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise no_such_name(name, others)
    timm_config(name)


def timm_config(name: str) -> dict[str, Any]:
    """What timm says of its weights of a name.

    Raises:
        FileNotFoundError: it has none.
    """
    import timm

    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # of a tag that it does not know
        config = None
    if config is None:
        raise FileNotFoundError(f"timm has no pretrained weights called {name!r}")
    values: dict[str, Any] = config.to_dict()
    return values


def check_hub(name: str, repository: str) -> None:
    """Say in a moment what the hub's own loader says in a minute, where nothing is cached.

    Args:
        name: of the weights.
        repository: of the hub, as timm's configuration names it.

    Raises:
        ConnectionError: the hub cannot be reached, and its cache does not hold the weights.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    cached = (try_to_load_from_cache(repository, file) for file in _HUB_FILES)
    if any(isinstance(path, str) for path in cached):
        return
    reason = unreachable(constants.ENDPOINT)
    if reason is not None:
        raise ConnectionError(
            f"{name} is not on this machine and {constants.ENDPOINT} cannot be reached ({reason}): bring "
            f"{name}{SUFFIX}, made elsewhere by python cli.py weights fetch {name} --to DIR, into a folder "
            f"and set {MIRROR_VARIABLE} to it"
        )
