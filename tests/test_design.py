"""What the design promises of the whole house: directions of import, names, documents that are true."""

from __future__ import annotations

import ast
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from support import ROOT

from apps.commands import cli
from apps.registry import APPS, load_app, merge, targets

ROOMS = ("apps", "backbone", "heads", "datasets", "benchmarks")
MAY_IMPORT = {"apps": {"backbone", "heads", "datasets"}, "backbone": set(), "heads": set(), "datasets": set()}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_downwards(room: str) -> None:
    assert sources(room)
    for path in sources(room):
        foreign = imports_of(path) & set(ROOMS) - {room} - MAY_IMPORT[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("room", ["backbone", "heads", "datasets"])
def test_nothing_below_apps_imports_click_or_prints(room: str) -> None:
    for path in sources(room):
        assert not imports_of(path) & {"click", "rich"}, path
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_click_lives_in_the_command_files_alone() -> None:
    users = {path.name for path in sources("apps") if "click" in imports_of(path)}
    assert users
    assert all(name.startswith(("commands", "options")) for name in users)


def test_files_and_functions_stay_short() -> None:
    for path in [p for room in ROOMS for p in sources(room)] + [ROOT / "cli.py"]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno + 1 <= 60, f"{path}: {node.name}"


@pytest.mark.parametrize("name", APPS)
def test_every_registered_application_keeps_the_contract(name: str) -> None:
    app = load_app(name)
    assert app.name == name
    assert {"dataset", "head", "metrics", "intervals", "report"} <= set(dir(app))
    assert app.Settings().to_dict()["seed"] == 0


def test_an_application_of_another_package_joins_and_a_second_of_one_name_raises() -> None:
    point = EntryPoint("cats", "somewhere:Cats", "mobilenet_apps.apps")
    assert merge({"dogs": "apps.dogs:Dogs"}, (point,))["cats"] == "somewhere:Cats"
    with pytest.raises(ValueError, match=r"'dogs' is registered twice: a:B and somewhere:Dogs"):
        merge({"dogs": "a:B"}, (EntryPoint("dogs", "somewhere:Dogs", "mobilenet_apps.apps"),))
    with pytest.raises(KeyError, match=r"there is no application 'cats'; there are: .*dogs"):
        load_app("cats")
    assert targets().keys() >= APPS.keys()


def shell_lines(text: str) -> list[str]:
    return re.findall(r"(?:python )?cli\.py ([a-z][a-z-]*)", text)


def test_every_command_in_the_readme_exists_and_every_command_is_in_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(shell_lines(readme))
    assert named
    assert named == set(cli.commands), f"README names {named}, the command line has {set(cli.commands)}"


def test_the_first_command_of_the_readme_comes_before_line_15() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("$ ") for line in lines[:14])


def test_links_in_the_documents_lead_somewhere() -> None:
    documents = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    for document in [*documents, *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
