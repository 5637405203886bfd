"""docs/schemas says what every command prints, and real answers keep to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from importing_support import trained
from safetensors.torch import save_file
from schema_support import FOLDER, check, closed, schema, schemas
from schema_world import explore
from support import Cli

from apps.cli.main import cli as top
from apps.cli.main import evaluate_group
from backbone.pretrained import HALF_INPUT

SILENT = {"completion"}  # commands that print no JSON: none, so far


def leaves(group: click.Group, above: str = "") -> set[str]:
    """The commands that do something, each with those above it; a command an application is one."""
    context, names = click.Context(group), set()
    for name in group.list_commands(context):
        step = group.get_command(context, name)
        path = f"{above} {name}".strip()
        if path in ("finetune", "evaluate"):
            names.add(f"{path} APP")
        elif isinstance(step, click.Group):
            names |= leaves(step, path)
        else:
            names.add(path)
    return names


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    named = {command for name in schemas() for command in schema(name)["x-commands"]}
    assert named - {"evaluate faces"} == leaves(top) - SILENT
    assert "faces" in evaluate_group.list_commands(click.Context(evaluate_group))


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_one_and_says_what_it_is_of(name: str) -> None:
    from jsonschema import Draft202012Validator

    content = schema(name)
    Draft202012Validator.check_schema(content)
    assert content["title"] == name and content["description"].endswith(".")


def test_what_is_wrong_would_be_noticed() -> None:
    line: dict[str, Any] = {"path": "a.jpg", "objects": [{"name": "dog", "score": 0.5, "box": [1, 2, 3, 4]}]}
    check("detect", line)
    check("detect", {"path": "a.jpg", "error": "no photo"})
    beyond = {"name": "dog", "score": 2, "box": []}
    for wrong in ({"path": "a.jpg"}, {"objects": []}, line | {"objects": [beyond]}, line | {"path": None}):
        with pytest.raises(AssertionError):
            check("detect", wrong)
    check("detect", line | {"new": 1})  # readers ignore what they do not know
    with pytest.raises(AssertionError, match="new"):
        check("detect", line | {"new": 1}, strict=True)
    assert closed({"type": "object", "properties": {}})["additionalProperties"] is False


def test_commands_without_a_model_keep_to_their_schemas(cli: Cli) -> None:
    for name, words in {
        "doctor": ["doctor"], "weights-list": ["weights", "list"], "cost": ["cost", "--table", "2", "--json"],
        "weights-show": ["weights", "show", "ssd_mobilenetv1_0.75_coco"],
    }.items():
        answer = cli(*words)
        assert answer.code == 0 and answer.lines
        for line in answer.lines:
            check(name, line, strict=True)


def test_weights_that_are_fetched_and_a_page_that_is_shown(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    described = {"padding": "same", "resolution": "64", "width": "0.25", "input": HALF_INPUT}
    save_file(trained(), tmp_path / "mirror" / "mobilenetv1_0.25_128.safetensors", described)
    answer = cli("weights", "fetch", "mobilenetv1_0.25_128", "--to", tmp_path / "here")
    assert answer.code == 0, answer.err
    check("weights-fetch", answer.lines[0], strict=True)
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", lambda _: None)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html>")
    answer = cli("serve", tmp_path / "page", "--port", 0)
    assert answer.code == 0, answer.err
    check("serve", answer.lines[0], strict=True)


def test_the_complete_lines_of_the_pages_keep_to_their_schemas() -> None:
    """A line of JSON below a documented command."""
    checked = 0
    for page in [FOLDER.parents[1] / "README.md", *FOLDER.parent.rglob("*.md")]:
        command = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            words = line.removeprefix("$ ").split()
            if line.startswith("$ "):
                command = words[2] if words[:2] == ["python", "cli.py"] and len(words) > 2 else ""
            elif line.startswith("{") and command in schemas() and "..." not in line:
                check(command, json.loads(line))
                checked += 1
    assert checked >= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_keeps_to_its_schema(cli: Cli, tmp_path: Path) -> None:
    world = explore(cli, tmp_path)
    for name, line in world.lines:
        check(name, line, strict=True)
    seen = {name for name, _ in world.lines}
    elsewhere = {"doctor-models", "fetch", "serve", "weights-fetch", "weights-push", "weights-pull"}
    assert seen == set(schemas()) - elsewhere
