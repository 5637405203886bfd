"""Which weights answer where none are named: the best on this machine, else the best that can be got."""

from __future__ import annotations

import os

from apps.engine.core.console import Console
from backbone.pretrained import COCO_SSD, FACES_DEFAULT, REGISTRY, TIMM_DEFAULT
from backbone.storage import MIRROR_VARIABLE, SUFFIX, on_disk

IMAGENET_WEIGHTS = (
    TIMM_DEFAULT, "mobilenetv1_1.0_224", "mobilenetv1_0.75_192", "mobilenetv1_0.5_160", "mobilenetv1_0.25_128"
)
BY_TASK = {
    "imagenet": IMAGENET_WEIGHTS, "dogs": IMAGENET_WEIGHTS, "attributes": (FACES_DEFAULT,),
    "faces": (FACES_DEFAULT,), "objects": (COCO_SSD,),
}


def unreachable(url: str) -> str | None:
    """As :func:`backbone.reach.unreachable`, which is imported where it is needed."""
    from backbone.reach import unreachable as asked

    return asked(url)


def default_weights(task: str, console: Console) -> str:
    """The name of the weights that answer for a task; they are on this machine then, and a line says so.

    Args:
        task: name of the task, such as ``imagenet``.
        console: where the line goes.

    Raises:
        ConnectionError: none is here, and none can be fetched; the message says what to bring where.
        ValueError: there is no published network for the task.
    """
    if task not in BY_TASK:
        raise ValueError(no_network(task))
    names = BY_TASK[task]
    name = next((name for name in names if on_disk(f"{name}{SUFFIX}")), None) or _fetched(names, console)
    console.say(f"{name} answers, as no other model is named")
    return name


def weights_that_look(app: str, weights: str | None, *, fetch: bool, console: Console) -> dict[str, str]:
    """By task, the weights that look at the images of an application's data; empty where none are at hand.

    Args:
        app: name of the application.
        weights: a path or a name that goes before.
        fetch: whether they may be fetched.
        console: where a line on what is fetched goes.

    Raises:
        ConnectionError: they are to be fetched and cannot.
    """
    task = app if app in ("faces", "objects") else "imagenet"
    if weights is not None:
        return {task: weights}
    local = next((name for name in BY_TASK[task] if on_disk(f"{name}{SUFFIX}")), None)
    if local is None and fetch:
        local = _fetched(BY_TASK[task], console)
    return {} if local is None else {task: local}


def no_network(task: str) -> str:
    """What to do for a task that nobody published a network for, in one line."""
    return (
        f"there is no published network for {task}: train one with `finetune {task} --data PHOTOS --out "
        f"runs/{task}`, then give --checkpoint runs/{task}"
    )


def _fetched(names: tuple[str, ...], console: Console) -> str:
    """The first of the weights whose makers, or a mirror, can be reached."""
    from concurrent.futures import ThreadPoolExecutor

    from apps.zoo.datasets import MIRROR_VARIABLE as WEB_MIRROR_VARIABLE
    from apps.zoo.weights import ensure_weights

    with ThreadPoolExecutor(len(names)) as pool:  # all at once, so that no network costs one wait
        reasons = list(pool.map(lambda name: unreachable(str(REGISTRY[name].url)), names))
    anywhere = bool(os.environ.get(WEB_MIRROR_VARIABLE))
    for name, reason in zip(names, reasons, strict=True):
        if reason is not None and not anywhere and REGISTRY[name].npm is None:
            continue
        try:
            ensure_weights(name, console)
        except ConnectionError as err:
            console.warn(str(err))
        else:
            return name
    first = next(name for name in names if REGISTRY[name].kind != "timm")
    raise ConnectionError(
        f"no weights are on this machine and none of {len(names)} sources answers ({reasons[0]}): bring "
        f"{first}{SUFFIX}, made elsewhere by python cli.py weights fetch {first} --to DIR, into a folder and "
        f"set {MIRROR_VARIABLE} to it, make them by `weights import` of the makers' file, or give --weights F"
    )
