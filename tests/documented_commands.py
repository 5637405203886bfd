"""The commands that README.md and docs/ name, in code blocks and inline, read as they are."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from support import ROOT

from apps.cli.main import cli
from apps.cli.options import given_settings
from apps.engine.core.registry import load_task
from backbone.pretrained import REGISTRY
from benchmarks.__main__ import BENCHMARKS, parser_of

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
STARTS = ("python cli.py", "mobilenet ", "python -m benchmarks", "make ", "torchrun ", "srun ")
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9]*")


@dataclass(frozen=True)
class Documented:
    """One command.

    Args:
        page: that names it.
        line: as it stands there.
        whole: it stands in a code block or begins with a program's name, so that nothing may be missing.
    """

    page: str
    line: str
    whole: bool


def documented() -> list[Documented]:
    """Every command, once a page."""
    found: dict[tuple[str, str], Documented] = {}
    for path in PAGES:
        page, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        entries = [(line.strip().removeprefix("$ "), True) for line in lines]
        rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        entries += [(" ".join(code.split()), False) for code in re.findall(r"`([^`]+)`", rest)]
        for line, in_block in entries:
            starts = line.startswith(STARTS) and not line.startswith("make the")
            named = not in_block and _is_command(line)
            if starts or named:
                whole = starts and "..." not in line
                found.setdefault((page, line), Documented(page, line, whole))
    return list(found.values())


def _is_command(line: str) -> bool:
    """Inline code such as ``evaluate imagenet --weights W``: a command of ours with something behind it."""
    words = line.split()
    return len(words) > 1 and words[0] in cli.commands and "(" not in line


def read(command: Documented) -> str:
    """Parse a command as its program would; says which program that is.

    Raises:
        AssertionError: it names an option, an argument, a command or weights that do not exist.
    """
    words = [word for word in shlex.split(command.line, comments=True) if not word.startswith("$")]
    while "=" in words[0]:
        words.pop(0)
    if words[0] == "srun":
        words.pop(0)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, f"make {words[1]}: there is no such target"
        return "make"
    if words[0] == "torchrun":
        if behind := _behind_torchrun(words[1:]):
            read_cli(behind, whole=command.whole)
        return "torchrun"
    if words[:3] == ["python", "-m", "benchmarks"]:
        read_benchmark(words[3:])
        return "benchmarks"
    if words[0] == "mobilenet":
        words.pop(0)
    read_cli(words[2:] if words[:2] == ["python", "cli.py"] else words, whole=command.whole)
    return "cli"


def _behind_torchrun(words: list[str]) -> list[str]:
    from torch.distributed.run import get_args_parser

    words = [re.sub(r"=[A-Z]$", "=2", word) for word in words]
    if "cli.py" not in words:
        words = [*words, "cli.py"]
    told = get_args_parser().parse_args(words)
    assert told.training_script == "cli.py"
    rest: list[str] = told.training_script_args
    return rest


def read_cli(words: list[str], *, whole: bool) -> None:
    """Parse the words behind ``cli.py``; nothing is invoked."""
    group: click.Command = cli
    context = cli.make_context("cli.py", [], resilient_parsing=True)
    name = ""
    while isinstance(group, click.Group) and words and not words[0].startswith(("-", "...")):
        name = "dogs" if words[0] == "APP" else words[0]
        step = group.get_command(context, name)
        assert step is not None, f"there is no command {name!r}"
        group, words = step, words[1:]
    if isinstance(group, click.Group):
        assert not whole, "no command is named"
        strange = {word for word in words if word.startswith("--")} - options_of(group)
        assert not strange, f"no command of {name} has the options {strange}"
        return
    if not whole and _only_named(words):
        return
    check_names(group, words)
    if not whole:
        return
    try:
        made = group.make_context(name, _filled(group, words), parent=context)
    except click.exceptions.Exit:  # --help
        return
    except click.UsageError as err:
        raise AssertionError(err.format_message()) from err
    if context.command is cli and "freeze" in made.params and name in cli_apps():
        kind = load_task(name).Settings
        kind(**given_settings(made, kind))
    for value in (made.params.get("weights"), made.params.get("name") if name in ("show", "fetch") else None):
        for one in value if isinstance(value, tuple) else (value,):
            check_registered(one)


def cli_apps() -> set[str]:
    """The applications."""
    from apps.engine.core.registry import targets

    return set(targets())


def _only_named(words: list[str]) -> bool:
    return not any(word.startswith("--") for word in words)


def check_names(command: click.Command, words: list[str]) -> None:
    """Every option is one of the command's."""
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    for word in words:
        flag = word.partition("=")[0]
        assert not word.startswith("--") or flag in known, f"{command.name} has no option {flag}"


def _filled(command: click.Command, words: list[str]) -> list[str]:
    """The words with an allowed value for each letter that stands for a value; no brackets and dots."""
    options = {name: one for one in command.params for name in one.opts}
    filled: list[str] = []
    for word in words:
        option = options.get(filled[-1]) if filled else None
        placed = option is not None and PLACEHOLDER.fullmatch(word)
        filled.append(_example(option.type, word) if option and placed else word.strip("[]"))
    return filled


def _example(kind: Any, word: str) -> str:
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    return {"integer": "2", "integer range": "64", "float": "0.5", "float range": "0.5"}.get(kind.name, word)


def check_registered(weights: object) -> None:
    """A name that looks like a registered one is one, with and without suffix."""
    name = str(weights or "").removesuffix(".safetensors")
    if re.match(r"(faces_)?mobilenet", name) and "/" not in name:
        assert name in REGISTRY, f"no weights are registered as {name!r}"


def read_benchmark(words: list[str]) -> None:
    """Parse the words behind ``python -m benchmarks``; nothing runs."""
    if not words:
        return
    assert words[0] in BENCHMARKS, f"there is no benchmark {words[0]!r}"
    parser = parser_of(words[0])
    actions = parser._option_string_actions
    filled: list[str] = []
    for word in words[1:]:
        action = actions.get(filled[-1]) if filled else None
        number = action is not None and action.type in (int, float)
        filled.append("1" if number and PLACEHOLDER.fullmatch(word) else word)
    told = _parsed(parser, filled)
    check_registered(getattr(told, "weights", None))


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    def refuse(message: str) -> Any:
        raise AssertionError(message)

    parser.error = refuse  # type: ignore[method-assign,assignment]
    return parser.parse_args(words)


def options_of(command: click.Command) -> set[str]:
    """The options of a command and of all commands below it."""
    found = {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            step = command.get_command(context, name)
            assert step is not None
            found |= options_of(step)
    return found


def all_options() -> set[str]:
    """The options of every command and every benchmark."""
    found = options_of(cli)
    for name in BENCHMARKS:
        found |= set(parser_of(name)._option_string_actions)
    return found


def named_options() -> list[tuple[str, str]]:
    """(page, option) of every ``--option`` in inline code."""
    found = set()
    for path in PAGES:
        text = re.sub(r"```.*?```", "", Path(path).read_text(encoding="utf-8"), flags=re.DOTALL)
        for code in re.findall(r"`([^`]+)`", text):
            found |= {(path.name, flag) for flag in re.findall(r"(?<![\w-])--[a-z][a-z_-]*", code)}
    return sorted(found)
