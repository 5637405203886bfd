"""Command-line options made from the fields of an application's settings."""

from __future__ import annotations

import math
import re
import tomllib
import types
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from apps.engine.core.registry import targets

if TYPE_CHECKING:
    from apps.engine.core.settings import Settings

WANTED: dict[str, tuple[type, ...]] = {
    "boolean": (bool,), "integer": (int,), "integer range": (int,), "float": (int, float),
}
FOLDER = click.Path(path_type=Path)
HELP_ALL = "apps.cli.help_all"  # in a context's meta: all options are shown


ALIASES = {"classes": "dogs"}  # which need not be dogs


def application(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """The name of an application; those of other packages are looked for only where one is named."""
    name = ALIASES.get(given or "", given)
    if name is not None and name not in targets():
        raise click.BadParameter(f"{name!r} is not one of {', '.join(map(repr, targets()))}.")
    return name


APP = click.option(
    "--app", callback=application, metavar="APP",
    help="what weights are to answer: dogs or imagenet by a classifier, attributes by the face network",
)


# What `finetune --help` shows; the rest is for `--help-all`.
COMMON = "data photos table weights head epochs batch_size lr resolution freeze out resume seed"
GROUPS = {
    "Data": (
        "data photos table listing names cells t_max t_min val_share val_folds folds fold split_by split_km "
        "sampling class_weights weights_of fix cache cache_gb workers"
    ),
    "Model": (
        "weights backbone head width resolution train_resolution dropout dim pooled bn offset softmax "
        "sequence"
    ),
    "Training": (
        "epochs batch_size lr freeze seed backbone_lr optimizer momentum weight_decay schedule warmup_epochs "
        "step_epochs step_rate plateau_epochs min_lr layer_decay unfreeze_every clip_norm accumulate ema "
        "smoothing margin_loss margin margin_scale smooth_km samples monitor keep patience preset precision "
        "device compile cached_features views find_lr stop_after any_world"
    ),
    "Teacher": "teacher teacher_weight teacher_temperature cosine relational each_view",
    "Augmentation": "augment min_crop jitter randaugment erase mixup cutmix crop eval_crop centre tta",
    "Output": "out resume export save_every log profile config",
}


class TrainingCommand(click.Command):
    """A command with so many options that ``--help`` shows the common ones, ``--help-all`` all in groups."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(
            ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=self._show_all,
            help="show all options, in groups, and exit",
        ))

    def _show_all(self, context: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked:
            context.meta[HELP_ALL] = True
            click.echo(context.get_help(), color=context.color)
            context.exit()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options: in groups, or the common ones alone."""
        rows = {str(item.name): item.get_help_record(ctx) for item in self.get_params(ctx)}
        groups = {title: names.split() for title, names in GROUPS.items()}
        listed = dict.fromkeys(name for names in groups.values() for name in names)
        if ctx.meta.get(HELP_ALL):
            groups["More"] = [name for name in rows if name not in listed]
        else:
            common = [name for name in listed if name in COMMON.split()]
            groups = {"Common options": [*common, "help_all", "help"]}
        for title, names in groups.items():
            records = [record for record in map(rows.get, names) if record]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Share(click.FloatRange):
    """A number from 0 to 1; nan, which is in no range and beyond none, is refused, too."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """The number."""
        result: float = super().convert(value, param, context)
        if math.isnan(result):
            self.fail(f"{value!r} is not in the range 0<=x<=1.", param, context)
        return result


class Seconds(click.FloatRange):
    """Seconds up to a day; nan, which is in no range and beyond none, is refused, too."""

    def __init__(self, low: float = 0.0) -> None:
        super().__init__(low, 86_400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        result: float = super().convert(value, param, ctx)
        if math.isnan(result):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return result


SHARE = Share()


def settings_options(kind: type[Settings]) -> list[click.Option]:
    """One option a field: its type, help and choices; booleans as ``--x/--no-x``."""
    hints = get_type_hints(kind)
    return [_option(field.name, hints[field.name], field.default, field.metadata) for field in fields(kind)]


def _option(name: str, hint: Any, default: Any, limits: Any) -> click.Option:
    plain = _plain_type(hint)
    from apps.engine.core.settings import flag_name

    flag = flag_name(name)
    if plain is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=default, help=limits["help"])
    kind: Any = PLACE if name == "data" else {Path: FOLDER}.get(plain, plain)
    if limits["choices"]:
        kind = click.Choice(limits["choices"])
    shown = default is not None
    help_text = " ".join([limits["help"], *_range(limits)])
    return click.Option([flag], type=kind, default=default, help=help_text, show_default=shown)


def _range(limits: Any) -> list[str]:
    """The range of a number in brackets, as ``[0 to below 1]``; nothing where there is none."""
    low, above, high, below = (limits.get(name) for name in ("low", "above", "high", "below"))
    least = f"{low:g} up" if low is not None else f"above {above:g}" if above is not None else ""
    most = f"to {high:g}" if high is not None else f"to below {below:g}" if below is not None else ""
    words = f"{least.removesuffix(' up') if most else least} {most}".strip()
    return [f"[{words}]"] if words else []


def _plain_type(hint: Any) -> Any:
    """``int`` of ``int | None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return hint


def given_settings(context: click.Context, kind: type[Settings]) -> dict[str, Any]:
    """The settings that the user gave, on the command line or in the file."""
    sources = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)
    return {
        field.name: context.params[field.name]
        for field in fields(kind)
        if context.get_parameter_source(field.name) in sources
    }


def config_option(known: Sequence[click.Option]) -> click.Option:
    """``--config run.toml``: keys are options' names; a flag on the command line wins."""

    def load(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            context.default_map = {**(context.default_map or {}), **read_config_file(path, known)}
        return path

    return click.Option(
        ["--config"], type=FOLDER, is_eager=True, expose_value=False, callback=load,
        help="TOML file of options; a flag on the command line wins",
    )


def read_config_file(path: Path, known: Sequence[click.Option]) -> dict[str, Any]:
    """The options in a TOML file.

    Raises:
        click.BadParameter: the file is missing, is not TOML, or has a key or a value that is no option's.
    """
    from datasets.validation import read_text

    text = ""
    try:
        text = read_text(path)
        values = tomllib.loads(text)
    except OSError as err:
        raise click.BadParameter(f"{path}: {err.strerror}" if err.strerror else str(err)) from err
    except tomllib.TOMLDecodeError as err:
        raise click.BadParameter(f"{path} is not TOML: {err}{_backslashes(text)}") from err
    except RecursionError as err:
        raise click.BadParameter(f"{path} is not TOML of options: it is nested too deep") from err
    except ValueError as err:
        raise click.BadParameter(f"{path} is not TOML: {err}") from err
    values = {key.replace("-", "_"): value for key, value in values.items()}
    options = {str(item.name): item for item in known}
    strange = sorted(set(values) - set(options))
    if strange:
        known_keys = ", ".join(sorted(options))
        raise click.BadParameter(f"{path}: unknown keys {', '.join(strange)}; known: {known_keys}")
    for key, value in values.items():
        if isinstance(value, str) and not value.isprintable():
            raise click.BadParameter(f"{path}: {key} is {value!r}{_backslashes(text) or ', no plain text'}")
        wanted = WANTED.get(options[key].type.name, (str,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            kinds = " or ".join(kind.__name__ for kind in wanted)
            raise click.BadParameter(f"{path}: {key} must be {kinds}, got {value!r}")
    return values


def _backslashes(text: str) -> str:
    """How to write a Windows path, where a text in quotation marks has a backslash in it."""
    match = re.search(r'^\s*([\w-]+)\s*=\s*"([^"\n]*\\[^"\n]*)"', text, re.MULTILINE)
    if match is None:
        return ""
    return f"; in \"...\" a backslash begins a sign such as \\t: write {match[1]} = '{match[2]}'"


class Place(click.Path):
    """A path, or an address such as ``s3://bucket/photos``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Addresses stay texts."""
        is_address = isinstance(value, str) and "://" in value
        return value if is_address else super().convert(value, param, ctx)


PLACE = Place(path_type=Path)
PARTS = ("out", "runner", "shard_size", "image_seconds", "gpus")


def parts_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of :data:`PARTS`."""
    words = "folder of Parquet parts to write, not lines; started again, it goes on"
    return runner_options(click.option("--out", type=PLACE, help=words)(command))


def runner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of :data:`PARTS` but ``--out``."""
    for name, kind, default, words in (
        ("runner", str, "local", "what works on --out: local, ray, or ray://HOST:PORT of a cluster"),
        ("shard-size", click.IntRange(1, 1_000_000), 1000, "images a part of --out"),
        ("image-seconds", float, 30.0, "that an image may take, to be named and left out then; 0: no limit"),
        ("gpus", click.FloatRange(0, 64), 0.0, "of a worker of a cluster; 0.25 lets four share one"),
    ):
        option = click.option(f"--{name}", type=kind, default=default, show_default=True, help=words)
        command = option(command)
    return command


def check_model_file(model: Path | None) -> None:
    """Refuse a file for ``--model`` that by its name was not made by ``export``.

    Raises:
        click.UsageError: see above.
    """
    if model is not None and model.suffix not in (".onnx", ".xml", ".tflite", ".pte"):
        raise click.UsageError(
            f"--model wants a file made by export, .onnx, .xml, .tflite or .pte, got {model}"
        )


def check_suffix(flag: str, path: Path | None, suffix: str) -> None:
    """Refuse a file to write that is called like another kind: what is there would be lost.

    Raises:
        click.UsageError: it has another suffix, or is a folder or a device.
    """
    if path is not None and (path.suffix.lower() != suffix or (path.exists() and not path.is_file())):
        raise click.UsageError(f"{flag} {path} is to be a {suffix} file; give one of that name")
