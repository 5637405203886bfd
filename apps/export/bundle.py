"""``run.py``: a template and what it uses of this project, as one file that imports nothing of it."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from apps.engine.inference.decode.kinds import KINDS, HeadKind

TEMPLATE = Path(__file__).with_name("run_template.py")
HOUSE = ("apps", "datasets", "backbone", "heads")
RUNTIMES = {"onnxruntime", "ai_edge_litert", "executorch", "torch"}  # that a file's kind needs, in functions
LIBRARIES = {"numpy", "PIL", *RUNTIMES, *sys.stdlib_module_names}  # what the script may import
TABLE = "DECODERS: "  # the line of the template that is filled from the table of kinds
END = 'if __name__ == "__main__":\n    sys.exit(main())\n'


@dataclass(frozen=True)
class Source:
    """A module as text: its definitions at the top level, and where its other names come from."""

    module: str
    lines: list[str]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[str, str | None]]

    def text(self, name: str) -> str:
        """A definition as it stands there, with its decorators."""
        node = self.definitions[name]
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        return "\n".join(self.lines[first - 1 : node.end_lineno])


@cache
def source_of(module: str) -> Source:
    """The source of a module of this project."""
    spec = find_spec(module)
    text = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            definitions |= dict.fromkeys(names, node)
    return Source(module, text.split("\n"), definitions, imports)


@dataclass
class Bundle:
    """What is taken into the script.

    Args:
        given: names that the template defines itself, which are taken from nowhere else.
    """

    given: frozenset[str]
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> module and text, in order
    libraries: set[tuple[str, str | None, str]] = field(default_factory=set)

    def take(self, module: str, name: str, called: str = "") -> None:
        """Take a definition and all that it uses, that first.

        Args:
            module: that defines or imports it.
            name: of the definition.
            called: what it is to be called instead.

        Raises:
            ValueError: it needs another library, or two definitions have one name.
        """
        source = source_of(module)
        if name in source.imports:
            self._import(*source.imports[name], name, f"{module}.{name}")
            return
        called = called or name
        text = source.text(name).replace(f"def {name}(", f"def {called}(", 1)
        if called in self.parts:
            if self.parts[called][1] != text:
                raise ValueError(f"two definitions of {called}: in {self.parts[called][0]} and in {module}")
            return
        self.parts[called] = module, text
        self.uses(source, source.definitions[name])
        self.parts[called] = self.parts.pop(called)  # below what it uses

    def uses(self, source: Source, node: ast.AST) -> None:
        """Take what a part of a module uses."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                module = inner.module if isinstance(inner, ast.ImportFrom) else inner.names[0].name
                self._allowed(str(module), source.module)
            if not isinstance(inner, ast.Name) or inner.id in self.given:
                continue
            if inner.id in source.imports or source.definitions.get(inner.id, node) is not node:
                self.take(source.module, inner.id)

    def _import(self, module: str, attribute: str | None, name: str, where: str) -> None:
        if module.split(".", maxsplit=1)[0] not in HOUSE:
            self._allowed(module, where)
            self.libraries.add((module, attribute, name))
        elif attribute is None or attribute not in (
            source_of(module).definitions.keys() | source_of(module).imports.keys()
        ):
            raise ValueError(f"{where} is a whole module, which cannot be taken into {TEMPLATE.name}")
        else:
            self.take(module, attribute)

    def _allowed(self, module: str, where: str) -> None:
        if module.split(".", maxsplit=1)[0] not in LIBRARIES:
            raise ValueError(f"{where} needs {module}, which the script does without")


def script_kinds() -> list[HeadKind]:
    """The kinds of head that the script reads."""
    return [kind for kind in KINDS.values() if kind.script]


@cache
def script() -> str:
    """The text of ``run.py``.

    Raises:
        ValueError: a decoder needs what the script does without.
    """
    template = source_of(f"{__package__}.{TEMPLATE.stem}")
    bundle = Bundle(frozenset(template.definitions))
    tree = ast.parse("\n".join(template.lines))
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            bundle.uses(template, node)
    table = []
    for kind in script_kinds():
        module, _, name = (kind.script_decoder or kind.decoder).partition(":")
        bundle.take(module, name, f"decode_{kind.name}")
        table.append(f"    {kind.name!r}: (decode_{kind.name}, {kind.top}),".replace("'", '"'))
    last = max(node.end_lineno or 0 for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    body = [line for line in template.lines[last:] if not line.startswith(TABLE)]
    doc = template.lines[: tree.body[0].end_lineno]
    filled = [next(line for line in template.lines if line.startswith(TABLE)).replace("{}  #", "{  #")]
    return "\n\n\n".join([
        "\n".join([*doc, "", *_imports(bundle), "", *body]).strip().rstrip(), *_spaced(bundle),
        "\n".join([*filled, *table, "}"]), END,
    ])


def _imports(bundle: Bundle) -> list[str]:
    lines = ["from __future__ import annotations"]
    for standard in (True, False):
        names: dict[str, set[str]] = {}
        lines.append("")
        for module, attribute, name in sorted(bundle.libraries, key=str):
            if (module.split(".")[0] in sys.stdlib_module_names) is standard:
                if attribute is None:
                    lines.append(f"import {module}" + (f" as {name}" if name != module else ""))
                else:
                    names.setdefault(module, set()).add(attribute)
        lines += [f"from {module} import {', '.join(sorted(group))}" for module, group in names.items()]
    return lines


def _spaced(bundle: Bundle) -> list[str]:
    """The definitions in their order; constants that follow each other stand together."""
    blocks: list[str] = []
    for _, text in bundle.parts.values():
        constant = not text.startswith(("def ", "class ", "@"))
        if constant and blocks and not blocks[-1].startswith(("def ", "class ", "@")):
            blocks[-1] += f"\n{text}" if text not in blocks[-1] else ""
        else:
            blocks.append(text)
    return blocks
