"""Pages from templates: text is escaped once, markup of ours not at all, and nothing goes missing unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from apps.engine.reporting.html import SHARED, render

IMPORT = '{% from "macros.html" import bar, how_made, numbers, section, table with context %}'


def rendered(folder: Path, text: str, **values: Any) -> str:
    template = folder / "t.html"
    template.write_text(IMPORT + text)
    return render(template, title="t", **values)


def test_text_is_escaped_once_and_markup_not_at_all(tmp_path: Path) -> None:
    page = rendered(
        tmp_path, '<p title="{{ x }}">{{ x }}</p>{{ table(x, [x], [(x,), (bar(0.5),)]) }}', x='<b>"&amp;'
    )
    assert page.count("&lt;b&gt;&#34;&amp;amp;") == 6
    assert "<b>" not in page
    assert '<th scope="row"><div class="bar" aria-hidden="true"><i style="width:50.0%"></i></div>' in page


@pytest.mark.parametrize("row", [("only one",), ("one", "two", "too many")])
def test_a_table_refuses_a_row_of_another_length(tmp_path: Path, row: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        rendered(tmp_path, '{{ table("c", ["a", ("b", "number")], [row]) }}', row=row)


def test_a_name_that_nobody_gave_is_an_error_and_no_gap(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="'missing' is undefined"):
        rendered(tmp_path, "{{ missing }}")


def test_a_share_of_nothing_has_no_bar_and_an_interval_has_a_whisker(tmp_path: Path) -> None:
    assert rendered(tmp_path, "[{{ bar(none) }}]").strip() == "[]"
    assert '<b style="left:25.0%;width:50.0%"></b>' in rendered(tmp_path, "{{ bar(0.5, 0.25, 0.75) }}")


def test_sections_are_listed_where_there_are_several(tmp_path: Path) -> None:
    one = '{% extends "base.html" %}' + IMPORT + "{% block sections %}{% call section('A&B') %}x{% endcall %}"
    (tmp_path / "one.html").write_text(one + "{% endblock %}")
    (tmp_path / "two.html").write_text(one + "{% call section('C') %}y{% endcall %}{% endblock %}")
    assert "<nav" not in render(tmp_path / "one.html", title="t")
    page = render(tmp_path / "two.html", title="t")
    assert '<a href="#part-1">A&amp;B</a><a href="#part-2">C</a>' in page
    assert '<section id="part-2" aria-labelledby="title-2"><h2 id="title-2">C</h2>' in page


def test_every_page_of_the_applications_extends_the_one_base() -> None:
    apps = SHARED.parents[2]
    pages = [path for path in apps.rglob("*.html") if path.parent != SHARED]
    assert len(pages) >= 7
    for path in pages:
        assert path.read_text(encoding="utf-8").startswith('{% extends "base.html" %}'), path
        assert "|safe" not in path.read_text(encoding="utf-8").replace(" ", ""), path


def test_a_page_does_not_say_whose_home_it_was_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    (tmp_path / "page.html").write_text('{{ a }} {{ "on " ~ a ~ "." }} {{ b }} {{ c }}')
    page = render(tmp_path / "page.html", a=f"{tmp_path}/ann/x", b=3, c=tmp_path / "ann/y")
    assert page == "~/x on ~/x. 3 ~/y"
