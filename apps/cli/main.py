"""The click commands; torch is imported inside those that run it, never for help."""

from __future__ import annotations

import io
import logging
import os
import platform
import sys
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from apps.cli.check import check
from apps.cli.cost import cost
from apps.cli.export import COMMANDS as EXPORT_COMMANDS
from apps.cli.faces import COMMANDS as FACE_COMMANDS
from apps.cli.faces import evaluate_attributes, evaluate_faces
from apps.cli.joint import joint
from apps.cli.objects import detect, evaluate_objects
from apps.cli.options import (
    ALIASES,
    FOLDER,
    TrainingCommand,
    config_option,
    given_settings,
    settings_options,
)
from apps.cli.output import check_weights, emit
from apps.cli.people import COMMANDS as PEOPLE_COMMANDS
from apps.cli.pipe import ClosedPipeError, PipeAwareGroup, ended
from apps.cli.places import cells, evaluate_places, locate
from apps.cli.predict import evaluate_command, predict
from apps.cli.runs import runs
from apps.cli.weights import weights as weights_group
from apps.engine.core.console import failed
from apps.engine.core.files import forget_made_folders, numbered_folder
from apps.engine.core.registry import load_task, targets
from apps.engine.training.signals import Stopped
from datasets.outside import shortened, system_line

COMMAND = "mobilenet"  # as setup.py installs it
LIBRARIES = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "pillow")
ALSO = {"dogs": ", or any classes of your own in a folder each (also: `finetune classes`),"}
DEBUG_VARIABLE = "MOBILENET_APPS_DEBUG"


def _tell_versions(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Versions are read from the installed packages' records, so that nothing is imported."""
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"mobilenet-apps {version('mobilenet-apps')}", f"python {platform.python_version()}"]
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            lines.append(f"{library} {version(library)}")
    click.echo("\n".join(lines))
    context.exit()


@click.group(
    cls=PipeAwareGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_versions,
    help="show the version, and those of the libraries that answers depend on, and exit",
)
def cli() -> None:
    """One MobileNet backbone, many heads: train, evaluate and use them on your own images.

    Results are JSON on stdout; words and progress are on stderr.
    """


class AppGroup(click.Group):
    """A command a registered application, made when it is asked for."""

    def __init__(self, *args: Any, make: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.make = make

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the applications, second ones too, and the commands of their own that some bring."""
        return sorted({*targets(), *ALIASES, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one application; its own where it brings one."""
        custom = super().get_command(ctx, cmd_name)
        name = ALIASES.get(cmd_name, cmd_name)
        made: click.Command | None = self.make(name) if custom is None and name in targets() else custom
        return made


def _finetune_command(name: str) -> click.Command:
    """``finetune NAME`` with an option for each field of its settings."""
    kind = load_task(name).Settings

    @click.pass_context
    def run(context: click.Context, /, out: Path | None, resume: bool, find_lr: bool, **rest: Any) -> None:
        if out is None and resume:
            raise click.UsageError("--resume goes on with the run in --out; give --out RUN")
        if out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise click.UsageError("several processes need one folder that all of them know; give --out RUN")
        given = given_settings(context, kind)
        try:
            kind(**given)
        except ValueError as err:
            raise click.UsageError(str(err)) from err
        check_weights(given.get("weights"))
        from apps.engine.core.console import Console
        from apps.engine.scale.local_data import with_local_data

        given = with_local_data(given, Console())
        with nullcontext(out) if out is not None else numbered_folder(Path("runs"), name) as folder:
            if find_lr:
                from apps.engine.training.lr_finder import run_lr_finder

                emit(run_lr_finder(name, given, out=folder, console=Console()))
                return
            from apps.engine.training.folds import finetune_folds

            custom = {key: rest[key] for key in ("stop_after", "any_world", "folds")}
            answer = finetune_folds(name, given, out=folder, resume=resume, console=Console(), **custom)
            if answer is not None:
                emit(answer)

    results = [
        click.Option(["--out"], type=FOLDER, help="the run's folder  [default: runs/NAME, numbered]"),
        click.Option(
            ["--resume"], is_flag=True,
            help="go on with the run in --out where it stopped; begin it where nothing is there yet",
        ),
        click.Option(["--stop-after"], type=click.IntRange(1), help="end after this many of --epochs"),
        click.Option(
            ["--folds"], type=click.IntRange(2, 100),
            help="train K times, each time evaluated on another part of all photos; one report of all",
        ),
        click.Option(
            ["--any-world"], is_flag=True,
            help="let --resume go on with another number of processes; equal within rounding only",
        ),
        click.Option(
            ["--find-lr"], is_flag=True,
            help="try rising rates, suggest one for --lr, and draw the curve into --out; trains nothing",
        ),
    ]
    options = settings_options(kind)
    config = config_option([*options, *results])
    return TrainingCommand(
        name, params=[*options, *results, config], callback=run, epilog=_example(name, kind.example),
        help=f"Train {name}{ALSO.get(name, '')} and write a run's folder: model, figures, report.html.",
    )


def _example(name: str, words: str) -> str | None:
    return f"Example:\n\n\b\n  finetune {name} {words}" if words else None


cli.add_command(cells)
cli.add_command(check)
cli.add_command(cost)
cli.add_command(detect)
cli.add_command(joint)
cli.add_command(locate)
cli.add_command(predict)
cli.add_command(runs)
cli.add_command(weights_group)
for command in (*FACE_COMMANDS, *PEOPLE_COMMANDS, *EXPORT_COMMANDS):
    cli.add_command(command)
cli.add_command(AppGroup("finetune", make=_finetune_command, help="Train an application on images."))
evaluate_group = AppGroup("evaluate", make=evaluate_command, help="Evaluate a model on labelled images.")
for command in (evaluate_attributes, evaluate_faces, evaluate_objects, evaluate_places):
    evaluate_group.add_command(command)
cli.add_command(evaluate_group)


@cli.command()
@click.argument("dataset")
@click.option("--root", type=FOLDER, required=True, help="folder to put the data into")
@click.option("--base-url", help="fetch from a mirror instead of the official place")
def fetch(dataset: str, root: Path, base_url: str | None) -> None:
    """Download a data set, check it and unpack it; go on where a download broke off."""
    from apps.engine.core.console import Console
    from apps.zoo.datasets import fetch as get

    with Console().downloads() as update:
        emit(get(dataset, root, base_url=base_url, on_progress=update))


@cli.command()
@click.argument("models", nargs=-1, type=FOLDER, metavar="[MODEL]...")
@click.option("--calibrate", type=FOLDER, help="photos like yours: int8 of one MODEL is made and tried")
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="of all in turn")
@click.option("--torch", is_flag=True, help="ask PyTorch for its devices, too: takes seconds")
def doctor(models: tuple[Path, ...], calibrate: Path | None, rounds: int, torch: bool) -> None:
    """Print what this machine offers; with MODEL, whether fp32 or int8 is to be used on it.

    MODEL is a run or an exported file in fp32, of which int8 is tried with weights of 7 and 8 bits; or that
    and int8 files behind it.
    """
    if models:
        from apps.export.doctor import compare

        say = partial(click.echo, err=True)
        emit(compare(models, calibrate=calibrate, rounds=rounds, say=say))
        return
    if calibrate is not None:
        raise click.UsageError("--calibrate DIR goes with MODEL")
    from apps.engine.inference.machine_report import machine_report

    emit(machine_report(torch=torch))


class _ToStderr(logging.Handler):
    """The lines that the libraries log, on stderr; from one process of a distributed run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if _speaks():
            click.echo(shortened(record.getMessage()), err=True)


def _hear_libraries() -> None:
    for heard in map(logging.getLogger, ("apps", "backbone", "datasets")):
        if not any(isinstance(handler, _ToStderr) for handler in heard.handlers):
            heard.addHandler(_ToStderr())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 (the run failed), 2 (usage) or 141 (closed pipe)."""
    _hear_libraries()
    code = ended(lambda: _run(arguments))
    forget_made_folders(remove=bool(code))
    return code


def _run(arguments: list[str] | None) -> int:
    """The command line with its errors as a line each and an exit code."""
    try:
        failed()  # what another call in this process left
        code = cli.main(arguments, prog_name=_name(), standalone_mode=False)
        return code if isinstance(code, int) and code else int(failed())
    except click.ClickException as err:
        if _speaks():
            err.show(shown := io.StringIO())
            click.echo("\n".join(shortened(line) for line in shown.getvalue().splitlines()), err=True)
        return err.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except ClosedPipeError:
        raise
    except Exception as err:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        code = err.code if isinstance(err, Stopped) else 0
        if _speaks() or not code:
            click.echo(str(err) if code else f"error: {_one_line(err)}", err=True)
        return code or 1


def _name() -> str:
    """``mobilenet`` where that command was typed; it is installed beside the checkout."""
    return COMMAND if Path(sys.argv[0]).stem == COMMAND else "cli.py"


def _speaks() -> bool:
    """Whether this is the process of a distributed run that says what all of them would."""
    return os.environ.get("RANK", "0") == "0"


def _one_line(err: Exception) -> str:
    """What went wrong, as one line; a kind of error that nobody foresaw says so."""
    bare = str(err.args[0] if isinstance(err, KeyError) and err.args else err)
    text = shortened(system_line(err) or bare)
    ours = type(err) is ImportError and err.name is None  # with what to install
    if ours or isinstance(err, OSError | ValueError | FloatingPointError | KeyError | MemoryError):
        return text or type(err).__name__
    return f"{type(err).__name__}: {text} (unforeseen; {DEBUG_VARIABLE}=1 shows where)"
