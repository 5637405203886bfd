"""What the design promises of the whole house: directions of import, names, documents that are true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from support import ROOT

from apps.cli.main import cli
from apps.engine.core.registry import TASKS, load_task, merge, targets

ROOMS = ("apps", "backbone", "heads", "datasets", "benchmarks")
TARGETS = {target.partition(":")[0] for target in TASKS.values()}  # as apps.faces.task, or apps.dogs
FOLDERS = {name.rpartition(".")[0] for name in TARGETS if name.count(".") == 2}
MODULES = TARGETS - {f"{folder}.task" for folder in FOLDERS}
LAYERS = (  # a package imports only from layers below its own, or from its own layer
    ("backbone", "heads", "datasets"),
    ("apps.engine.core", "apps.engine.data"),
    ("apps.engine", "apps.zoo"),
    ("apps.classification", "apps.cost", *FOLDERS),
    ("apps.joint", "apps.export", *MODULES),
    ("apps.cli", "apps"),  # the package itself: its public face
    ("benchmarks", "cli"),
)
LIBRARY = LAYERS[0]
DIALECT = re.compile(r"_*((one|found|told|said|own)$|judged|taught)", re.IGNORECASE)


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def every_module() -> dict[str, Path]:
    paths = [path for room in ROOMS for path in sources(room)] + [ROOT / "cli.py"]
    return {module_of(path): path for path in paths}


def imports_of(path: Path) -> set[str]:
    """The dotted names that a file imports, inside functions and for types, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def import_graph() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports; a package only where a name of it is meant."""
    modules = every_module()
    graph = {}
    for name, path in modules.items():
        named = imports_of(path) & modules.keys()
        graph[name] = {one for one in named if not any(other.startswith(f"{one}.") for other in named)}
    return graph


def layer_of(module: str) -> int:
    """The number of the layer with the longest name that the module's begins with."""
    owners = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    fits = [name for name in owners if f"{module}.".startswith(f"{name}.")]
    return owners[max(fits, key=len)] if fits else 0


def test_modules_import_only_downwards() -> None:
    graph = import_graph()
    assert len(graph) > 250
    upward = [f"{a} -> {b}" for a, used in graph.items() for b in used if layer_of(b) > layer_of(a)]
    assert not upward, upward


@pytest.mark.parametrize("room", LIBRARY)
def test_the_three_libraries_know_nothing_of_each_other(room: str) -> None:
    for path in sources(room):
        assert not packages_of(path) & set(ROOMS) - {room}, path


def test_there_is_no_cycle_of_imports_not_even_inside_functions() -> None:
    try:
        order = tuple(TopologicalSorter(import_graph()).static_order())
    except CycleError as err:
        pytest.fail(" -> ".join(err.args[1]))
    assert order.index("backbone.base") < order.index("apps.cli.main")


@pytest.mark.parametrize("room", ["backbone", "heads", "datasets"])
def test_nothing_below_apps_imports_click_or_prints(room: str) -> None:
    for path in sources(room):
        assert not packages_of(path) & {"click", "rich"}, path
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_only_commands_and_the_training_make_a_console() -> None:
    makers = set()
    for path in sources("apps"):
        calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        if any(isinstance(call, ast.Name) and call.id == "Console" for call in calls):
            makers.add(path.relative_to(ROOT / "apps").as_posix())
    makers = {name for name in makers if not name.startswith("cli/")}
    quiet = {"engine/training/finetune.py", "export/accuracy.py", "faces/extraction/embed_faces.py"}
    quiet.add("zoo/weights.py")  # for Python, where nobody reads
    assert makers <= quiet, "the console is passed in"


def test_click_lives_in_the_command_line_alone() -> None:
    users = {path.parent for path in sources("apps") if "click" in packages_of(path)}
    assert users == {ROOT / "apps" / "cli"}


def test_a_folder_holds_fifteen_modules_at_most() -> None:
    rooms = {path.parent for room in ROOMS[:4] for path in sources(room)}
    for room in rooms:
        modules = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 15, f"{room.relative_to(ROOT)}: {len(modules)}"
    assert len(list((ROOT / "apps").glob("*.py"))) <= 3


def test_files_and_functions_stay_short() -> None:
    for path in [p for room in ROOMS for p in sources(room)] + [ROOT / "cli.py"]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno + 1 <= 60, f"{path}: {node.name}"


def names_bound(path: Path) -> Iterator[tuple[str, int]]:
    """The names that a file gives to something, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def test_names_are_the_fields_words() -> None:
    paths = [ROOT / "cli.py", *(path for room in (*ROOMS, "examples") for path in sources(room))]
    dialect = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in paths for name, line in names_bound(path) if DIALECT.match(name)
    ]
    assert dialect == []


def test_an_application_of_another_package_joins_and_a_second_of_one_name_raises() -> None:
    point = EntryPoint("cats", "somewhere:Cats", "mobilenet_apps.apps")
    assert merge({"dogs": "apps.dogs:Dogs"}, (point,))["cats"] == "somewhere:Cats"
    with pytest.raises(ValueError, match=r"'dogs' is registered twice: a:B and somewhere:Dogs"):
        merge({"dogs": "a:B"}, (EntryPoint("dogs", "somewhere:Dogs", "mobilenet_apps.apps"),))
    with pytest.raises(KeyError, match=r"there is no application 'cats'; there are: .*dogs"):
        load_task("cats")
    assert targets().keys() >= TASKS.keys()


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
