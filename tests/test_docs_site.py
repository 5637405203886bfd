"""The documentation as a site: its made pages, its navigation, the strict build where MkDocs is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from support import ROOT

from apps.cli.main import cli

DOCS = ROOT / "docs"
TUTORIALS = ("dogs", "album", "detector", "archive", "phone", "cluster")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "tools" / "site_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Loader(yaml.SafeLoader):
    """Knows the tag that reads a variable."""


_Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node)[-1])


def site() -> dict[str, Any]:
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav
    return [page for part in below for page in pages_of(part)]


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    named = pages_of(site()["nav"])
    assert sorted(named) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert {f"tutorials/{name}.md" for name in TUTORIALS} <= set(named)
    assert site()["strict"] is True


def test_a_page_a_command_has_the_options_of_all_commands_below_it(hooks: ModuleType) -> None:
    pages = hooks.command_pages()
    assert set(pages) == set(cli.commands)
    assert "## mobilenet finetune faces" in pages["finetune"] and "--margin-loss" in pages["finetune"]
    assert "Augmentation:" in pages["finetune"], "--help-all, not --help"
    assert pages["detect"].startswith("# mobilenet detect\n") and "--draw" in pages["detect"]


def test_links_that_leave_docs_lead_to_pages_of_the_site(hooks: ModuleType) -> None:
    for text, place, wanted in (
        ("[a](../examples/train_on_ray.py)", "scaling.md", "reference/examples.md#train_on_ray"),
        ("[a](../../ARCHITECTURE.md)", "explanation/index.md", "../explanation/architecture.md"),
        ("[a](docs/adr)", "explanation/architecture.md", "../explanation/index.md"),
        ("[a](docs/faces.md#x)", "explanation/changelog.md", "../faces.md#x"),
        ("[a](../setup.py)", "faces.md", "index.md"),
        ("[a](faces.md)", "places.md", "faces.md"),
        ("[a](https://arxiv.org/abs/1)", "places.md", "https://arxiv.org/abs/1"),
    ):
        assert hooks.rewritten(text, place) == f"[a]({wanted})", place


def test_what_can_be_installed_is_what_the_pages_name() -> None:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = set(re.findall(r'"([a-z]+)": \[?\*?[A-Z]+', text))
    assert {"apps", "docs", "hub", "notebooks", "dev"} <= extras
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for names in re.findall(r"\.\[([a-z,]+)\]'", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= extras, f"{page.name}: {names}"


class _Sources(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"script": "src", "img": "src", "link": "href"}
        address = dict(attrs).get(names.get(tag, "")) or ""
        if "//" in address and dict(attrs).get("rel") != "canonical":
            self.outside.append(address)


def test_the_site_is_built_without_warnings_and_asks_no_other_server(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="make docs installs it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {f"reference/cli/{name}.html" for name in cli.commands} | {"explanation/architecture.html"} <= made
    assert "MobileNetV1" in (tmp_path / "site/reference/backbone.html").read_text(encoding="utf-8")
    for name in made:
        reader = _Sources()
        reader.feed((tmp_path / "site" / name).read_text(encoding="utf-8"))
        assert reader.outside == [], name
