"""Pages of the site that are made, not written: every command's help, the examples, the pages of the root.

MkDocs calls the functions whose names begin with ``on_``; ``command_pages`` is tested without it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from apps.cli.main import cli
from apps.cli.options import HELP_ALL

WIDTH = 100
ROOT_PAGES = {
    "ARCHITECTURE.md": "explanation/architecture.md", "CONTRIBUTING.md": "explanation/contributing.md",
    "CHANGELOG.md": "explanation/changelog.md",
}
EXAMPLES = "reference/examples.md"
OUTSIDE = re.compile(r"\]\(((?:\.\./)+|)([\w./-]+)(#[\w-]+)?\)")


def help_text(command: click.Command, path: str, parent: click.Context | None) -> str:
    """All that ``--help-all`` says of a command; ``--help`` where that is all."""
    name = path.rpartition(" ")[2]
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH)
    context.meta[HELP_ALL] = True
    return context.get_help()


def commands(
    command: click.Command, path: str, parent: click.Context | None = None
) -> list[tuple[str, str]]:
    """(name with those above it, help) of a command and of all below it."""
    rows = [(path, help_text(command, path, parent))]
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path.rsplit(maxsplit=1)[-1], parent=parent)
        for name in command.list_commands(context):
            step = command.get_command(context, name)
            assert step is not None
            rows += commands(step, f"{path} {name}", context)
    return rows


def command_pages() -> dict[str, str]:
    """Name of each command of the top level -> its page in Markdown."""
    top = click.Context(cli, info_name="mobilenet")
    pages = {}
    for name in cli.list_commands(top):
        step = cli.get_command(top, name)
        assert step is not None
        rows = commands(step, f"mobilenet {name}", top)
        levels = ["#", *["##"] * (len(rows) - 1)]
        blocks = zip(levels, rows, strict=True)
        pages[name] = "\n".join(f"{level} {path}\n\n```text\n{text}\n```\n" for level, (path, text) in blocks)
    return pages


def examples_page() -> str:
    """The scripts of examples/, one below the other."""
    parts = ["# Examples\n\nScripts of some twenty lines, each run by a test.\n"]
    for path in sorted((ROOT / "examples").glob("*.py")):
        parts.append(f"## {path.name} {{#{path.stem}}}\n\n```python\n{path.read_text(encoding='utf-8')}```\n")
    return "\n".join(parts)


def on_config(config: Any) -> Any:
    """The made pages join the navigation."""
    for section in config["nav"]:
        if "Reference" in section:
            lines = [{name: f"reference/cli/{name}.md"} for name in command_pages()]
            section["Reference"] += [{"Command line": lines}, {"Examples": EXAMPLES}]
        if "Explanation" in section:
            titles = "Architecture", "Contributing", "Changes"
            section["Explanation"] += [{a: b} for a, b in zip(titles, ROOT_PAGES.values(), strict=True)]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Give MkDocs the made pages."""
    from mkdocs.structure.files import File

    made = {f"reference/cli/{name}.md": text for name, text in command_pages().items()}
    made[EXAMPLES] = examples_page()
    for name, place in ROOT_PAGES.items():
        made[place] = (ROOT / name).read_text(encoding="utf-8")
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that leave docs/ lead to the made pages; those to other files to its start."""
    place = page.file.src_uri
    return rewritten(markdown, place)


def rewritten(markdown: str, place: str) -> str:
    """The text of a page with links that hold within the site.

    Args:
        markdown: as it stands in the checkout.
        place: of the page in the site, such as ``explanation/architecture.md``.
    """
    source = {made: name for name, made in ROOT_PAGES.items()}.get(place)
    folder = ROOT if source else (ROOT / "docs" / place).parent

    def link(match: re.Match[str]) -> str:
        target = (folder / (match[1] + match[2])).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        name, anchor = target.relative_to(ROOT).as_posix(), match[3] or ""
        if target.is_relative_to(ROOT / "examples") and target.suffix == ".py":
            inside, anchor = EXAMPLES, f"#{target.stem}"
        elif name in ROOT_PAGES:
            inside = ROOT_PAGES[name]
        elif target.is_dir() and name == "docs/adr":
            inside = "explanation/index.md"
        elif target.is_relative_to(ROOT / "docs") and target.is_file() and target.suffix in (".md", ".png"):
            inside = target.relative_to(ROOT / "docs").as_posix()
        else:
            return "](" + "../" * place.count("/") + "index.md)"
        return f"]({'../' * place.count('/')}{inside}{anchor})"

    return OUTSIDE.sub(link, markdown)
