"""What --help, --help-all, --version and the completion of shells say, all without PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest
from support import ROOT, Cli

from apps.cli.options import GROUPS
from apps.engine.core.registry import load_task, targets
from apps.engine.core.settings import flag_name

MOBILENET = Path(sys.executable).with_name("mobilenet")


def shown(text: str, flag: str) -> bool:
    return any(line.split()[:1] == [flag] for line in text.splitlines())


@pytest.mark.parametrize("name", targets())
def test_help_shows_the_common_options_and_help_all_each_in_a_group(cli: Cli, name: str) -> None:
    short, whole = cli("finetune", name, "--help"), cli("finetune", name, "--help-all")
    assert short.code == whole.code == 0
    flags = [line.split()[0] for line in short.out.splitlines() if line.startswith("  --")]
    assert len(flags) <= 14
    assert {"--data", "--weights", "--epochs", "--lr", "--out", "--help-all"} <= set(flags)
    grouped = {option for names in GROUPS.values() for option in names.split()}
    for field in fields(load_task(name).Settings):
        assert shown(whole.out, flag_name(field.name)), field.name
        assert field.name in grouped, f"{field.name} has no group in apps/cli/options.py"
    rest = whole.out.split("\nMore:\n")[1].split("Example:")[0]
    assert [line.split()[0] for line in rest.splitlines() if line.strip()] == ["--help-all", "-h,"]


def test_an_example_in_help_is_a_command_that_is_understood(cli: Cli) -> None:
    for name in targets():
        example = cli("finetune", name, "--help").out.split("Example:")[1].split()
        assert example[:2] == ["finetune", name]
        for word in example:
            assert not word.startswith("--") or shown(cli("finetune", name, "--help-all").out, word), word


def test_the_version_names_what_answers_depend_on(cli: Cli) -> None:
    lines = dict(line.rsplit(" ", 1) for line in cli("--version").out.splitlines())
    assert lines["mobilenet-apps"] == version("mobilenet-apps")
    assert lines["onnxruntime"] == version("onnxruntime")
    assert lines["torch"] == version("torch") and "python" in lines


def mobilenet(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MOBILENET, *words], capture_output=True, text=True, cwd=cwd, check=False, env=os.environ | variables
    )


def test_the_installed_command_is_the_command_line_from_any_folder(tmp_path: Path) -> None:
    done = mobilenet("cost", "--table", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("{"), done.stderr
    assert "Usage: mobilenet " in mobilenet("predict", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(tmp_path: Path, shell: str) -> None:
    script = mobilenet(cwd=tmp_path, _MOBILENET_COMPLETE=f"{shell}_source").stdout
    assert f"_MOBILENET_COMPLETE={shell}_complete" in script
    asked = {"COMP_WORDS": "mobilenet finetune dogs --ba", "COMP_CWORD": "--ba" if shell == "fish" else "3"}
    answer = mobilenet(cwd=tmp_path, _MOBILENET_COMPLETE=f"{shell}_complete", **asked).stdout
    assert "--batch-size" in answer and "--backbone" in answer and "--epochs" not in answer


def test_completion_and_help_load_neither_torch_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from apps.cli.main import main;"
        "[main(['finetune', app, '--help-all']) for app in ('dogs', 'faces', 'objects')];"
        "main(['--version']); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
