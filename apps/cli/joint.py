"""``joint``: several applications trained on one backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.cli.options import FOLDER, TrainingCommand, config_option, given_settings, settings_options
from apps.cli.output import check_weights, emit
from apps.cli.pipe import Deferred
from apps.engine.core.registry import load_task

if TYPE_CHECKING:
    from apps.joint.settings import TaskSpec

OF_ONE_TASK = ("data", "teacher")  # of one task each: --data NAME=DIR, --set NAME.teacher=RUN


def _pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """``NAME=VALUE`` words as a dict."""
    results: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{flag} wants NAME=VALUE, got {word!r}")
        if name in results:
            raise click.UsageError(f"{flag} {name} is given twice")
        results[name] = value
    return results


def _numbers(words: Sequence[str], flag: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in _pairs(words, flag).items()}
    except ValueError as err:
        raise click.UsageError(f"{flag} wants NAME=NUMBER: {err}") from err


def _set(words: Sequence[str], apps: dict[str, str]) -> dict[str, dict[str, Any]]:
    """``NAME.OPTION=VALUE`` words as the options of each task, in their types."""
    results: dict[str, dict[str, Any]] = {}
    for key, value in _pairs(words, "--set").items():
        name, _, flag = key.partition(".")
        if name not in apps:
            raise click.UsageError(f"--set {key}: there is no such task; {', '.join(apps)}")
        known = {str(item.name): item for item in settings_options(load_task(apps[name]).Settings)}
        option = known.get(flag.replace("-", "_"))
        if option is None or option.name == "data":
            raise click.UsageError(f"--set {key}: {apps[name]} has no option {flag!r}")
        try:
            results.setdefault(name, {})[str(option.name)] = option.type.convert(value, option, None)
        except click.BadParameter as err:
            raise click.UsageError(f"--set {key}: {err.message}") from err
    return results


def _tasks(words: Sequence[str], rest: dict[str, Any]) -> list[TaskSpec]:
    from apps.engine.core.console import Console
    from apps.engine.scale.local_data import with_local_data
    from apps.joint.settings import make_tasks

    apps = {left: right or left for left, _, right in (word.partition("=") for word in words)}
    given = _pairs(rest["data"], "--data").items()
    data = {name: Path(with_local_data({"data": value}, Console())["data"]) for name, value in given}
    try:
        for app in apps.values():
            load_task(app)
        return make_tasks(
            words, data=data, share=_numbers(rest["share"], "--share"),
            weight=_numbers(rest["weight"], "--weight"), given=_set(rest["set_"], apps),
        )
    except (ValueError, KeyError) as err:
        raise click.UsageError(str(err.args[0])) from err


def _run(
    context: click.Context, /, apps: tuple[str, ...], out: Path, resume: bool, compare: bool,
    stop_after: int | None, **rest: Any,
) -> None:
    from apps.joint.settings import JointSettings

    every = given_settings(context, JointSettings)
    given = {key: value for key, value in every.items() if key not in OF_ONE_TASK}
    tasks = _tasks(apps, rest) if apps or not resume else []
    if rest["weight"] and every.get("loss_weights") == "learned":
        raise click.UsageError("--weight is for --loss-weights fixed; with learned the training finds it")
    if rest["share"] and every.get("task_sampling") != "weighted":
        raise click.UsageError("--share is for --task-sampling weighted; give both, or leave it out")
    try:
        JointSettings(**given)
        for task in tasks:
            load_task(task.app).Settings(**task.settings(given))
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    check_weights(given.get("weights"))
    from apps.engine.core.console import Console
    from apps.joint.train import joint as train

    answer = train(
        tasks, given, out=out, resume=resume, stop_after=stop_after, compare=compare, console=Console()
    )
    emit(answer)


def _joint_command() -> click.Command:
    """``joint`` with an option for each setting that all tasks share."""
    from apps.joint.settings import JointSettings

    parameters: list[click.Parameter] = [
        click.Option(["--data"], multiple=True, metavar="NAME=DIR", help="a task's folder of photos"),
        click.Option(["--out"], type=FOLDER, required=True, help="folder; RUN/NAME becomes each task's run"),
        click.Option(["--resume"], is_flag=True, help="go on with the run in --out where it stopped"),
        click.Option(
            ["--stop-after"], type=click.IntRange(1),
            help="end after this many of the planned --epochs, to go on with --resume",
        ),
        click.Option(["--compare"], is_flag=True, help="train each task alone, too, and compare in a table"),
        click.Option(
            ["--share"], multiple=True, metavar="NAME=X",
            help="of the batches, with --task-sampling weighted  [default: 1]",
        ),
        click.Option(
            ["--weight"], multiple=True, metavar="NAME=X",
            help="of a task's loss, with --loss-weights fixed  [default: 1]",
        ),
        click.Option(
            ["--set", "set_"], multiple=True, metavar="NAME.OPTION=VALUE", help="an option of one task alone"
        ),
    ]
    shared = [option for option in settings_options(JointSettings) if option.name not in OF_ONE_TASK]
    config = config_option(shared)
    return TrainingCommand(
        "joint", params=[click.Argument(["apps"], nargs=-1), *parameters, *shared, config],
        callback=click.pass_context(_run),
        help="Train several applications on one backbone, each from data of its own, and write a run each. "
        "APPS are two or more of APP or NAME=APP: `joint dogs imagenet`, `joint terriers=dogs hounds=dogs`.",
    )


joint = Deferred("joint", _joint_command)
