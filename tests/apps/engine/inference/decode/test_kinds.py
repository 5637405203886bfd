"""One table of the kinds of head: what reads it, the page and the script agree with it."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from support import ROOT

from apps.engine.core.registry import TASKS, load_task
from apps.engine.core.spec import FACE_APPS
from apps.engine.defaults import TaskDefaults
from apps.engine.inference.decode.kinds import KINDS, HeadKind, kind_of


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_has_a_decoder_limits_and_a_reason_for_what_it_lacks(kind: HeadKind) -> None:
    for target in filter(None, (kind.decoder, kind.script_decoder)):
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name))
    assert kind.decoder and kind.limits != HeadKind("x").limits
    assert (kind.page and kind.script) or kind.why_not
    assert kind_of(kind.name) is kind and kind_of("of another package").decoder == ""


@pytest.mark.parametrize(("file", "table"), [("answers.js", "READERS"), ("render.js", "RENDERERS")])
def test_the_page_has_the_kinds_that_the_table_says(file: str, table: str) -> None:
    text = (ROOT / "web" / "page" / file).read_text(encoding="utf-8")
    (listed,) = re.findall(rf"export const {table} = \{{([^}}]*)\}}", text)
    assert {name.strip() for name in listed.split(",")} == {kind.name for kind in KINDS.values() if kind.page}


@pytest.mark.parametrize("app", TASKS)
def test_a_task_takes_the_options_of_its_kind_and_of_its_subject(app: str) -> None:
    task = load_task(app)
    assert issubclass(task, TaskDefaults)
    assert task.predict_options == KINDS[task.head_kind].options(task.subject)
    assert (app in FACE_APPS) == (task.subject == "faces")
