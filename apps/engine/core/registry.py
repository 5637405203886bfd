"""The applications by name, as strings, so that help never imports torch."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from apps.engine.core.task import AnyTask

GROUP = "mobilenet_apps.apps"
TASKS = {
    "attributes": "apps.attributes.task:Attributes",
    "dogs": "apps.dogs:Dogs",
    "faces": "apps.faces.task:Faces",
    "imagenet": "apps.imagenet:ImageNet",
    "objects": "apps.objects.task:Objects",
    "places": "apps.places.task:Places",
}


@cache
def targets() -> dict[str, str]:
    """Name -> ``module:Class`` of every application, ours and other packages'.

    Raises:
        ValueError: another package registers a name that is taken.
    """
    from importlib.metadata import entry_points  # a tenth of what the help of a command costs

    return merge(TASKS, tuple(entry_points(group=GROUP)))


def merge(results: dict[str, str], others: tuple[EntryPoint, ...]) -> dict[str, str]:
    """Our applications and those of the entry points; a name that comes twice raises."""
    merged = dict(results)
    for point in others:
        if point.name in merged:
            raise ValueError(
                f"application {point.name!r} is registered twice: {merged[point.name]} and {point.value}"
            )
        merged[point.name] = point.value
    return merged


def load_task(name: str) -> type[AnyTask]:
    """The class of an application.

    Raises:
        KeyError: there is none of that name; the message names those that there are.
        ValueError: it lacks a member of the contract.
    """
    if name not in targets():
        raise KeyError(f"there is no application {name!r}; there are: {', '.join(targets())}")
    module, _, attribute = targets()[name].partition(":")
    task: type[AnyTask] = getattr(import_module(module), attribute)
    check_members(task, f"{name!r}, {targets()[name]},")
    return task


def check_members(task: type[AnyTask], whose: str) -> None:
    """Refuse a class that has not every member of the contract of a task.

    Args:
        task: a class that is meant to be one.
        whose: its name, for the message.

    Raises:
        ValueError: members are missing; the message names them.
    """
    from apps.engine.core.task import Task

    members = {name for name in (*vars(Task), *Task.__annotations__) if not name.startswith("_")}
    missing = sorted(members - {"settings"} - set(dir(task)))
    if missing:
        raise ValueError(
            f"the task {whose} lacks {', '.join(missing)}; apps/engine/core/task.py says what they are, and "
            "TaskDefaults of apps/engine/defaults.py has the others"
        )
