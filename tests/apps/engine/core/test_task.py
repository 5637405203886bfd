"""Every registered task keeps the contract, and nothing is looked for that the contract does not have."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, is_dataclass

import pytest
from support import ROOT
from task_table import CASES

from apps.engine.core.metrics import Metric, MetricTable
from apps.engine.core.registry import TASKS, load_task
from apps.engine.core.settings import Settings
from apps.engine.core.task import Evaluation, Task

MEMBERS = {name for name in (*vars(Task), *Task.__annotations__) if not name.startswith("_")}
REFLECTION = {  # getattr on a module, a dataclass of one's own, a library's object; never on a task
    "apps/engine/core/registry.py", "apps/engine/core/settings.py", "apps/engine/core/machine.py",
    "apps/engine/data/loader.py", "apps/engine/data/transforms.py",
    "apps/engine/inference/decode/__init__.py", "apps/engine/inference/engines.py",
    "apps/engine/inference/graph/model.py",
    "apps/engine/tracking/compare.py", "apps/engine/tracking/runs.py",
    "apps/engine/training/optim/layer_decay.py", "apps/engine/training/optim/optimizers.py",
}


def test_the_table_that_mypy_checks_has_every_registered_task() -> None:
    assert CASES.keys() == TASKS.keys() and len(TASKS) >= 6
    for name, case in CASES.items():
        assert load_task(name) is case.task


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_every_member_of_the_contract_with_its_parameters(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert len(MEMBERS) > 20
    for member in MEMBERS - {"settings"}:
        assert member in dir(task), member
        given = vars(Task).get(member)
        if inspect.isfunction(given):
            wanted, got = (list(inspect.signature(one).parameters) for one in (given, getattr(task, member)))
            assert got == wanted, f"{name}.{member} takes {got}, not {wanted}"


@pytest.mark.parametrize("name", TASKS)
def test_the_class_attributes_of_a_task_are_what_the_contract_says(name: str) -> None:
    task = load_task(name)
    assert issubclass(task.Settings, Settings) and is_dataclass(task.Settings) and fields(task.Settings)
    assert isinstance(task.metrics, MetricTable) and isinstance(task.primary_metric, Metric)
    assert task.predict_options <= {"top", "tta", "crops", "detector"}
    assert (task.subject == "images") == (task.file_predictor is None)
    instance = task(task.Settings())
    assert instance.tta in ("none", "mirror", "ten", "scales")
    assert instance.eval_crop is None or 0 < instance.eval_crop <= 1
    with pytest.raises(ValueError, match="give --data DIR"):
        instance.data  # noqa: B018


def test_every_evaluation_counts_and_computes() -> None:
    wanted = {name for name in vars(Evaluation) if name in ("__len__", "metrics", "intervals")}
    assert len(wanted) == 3
    for case in CASES.values():
        assert wanted <= set(dir(case.evaluation))


def test_no_attribute_is_looked_for_on_tasks_settings_datasets_or_loaders() -> None:
    users = set()
    for path in sorted((ROOT / "apps" / "engine").rglob("*.py")):
        calls = [n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
                 and isinstance(n.func, ast.Name)]
        if {"getattr", "hasattr"} & set(calls):
            users.add(path.relative_to(ROOT).as_posix())
    assert users <= REFLECTION, users - REFLECTION
