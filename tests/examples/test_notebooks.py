"""The examples as notebooks: paired with scripts, without outputs, and each run to its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faces_support import draw_crops
from PIL import Image
from runs_support import make_runs
from support import ROOT, Cli

FOLDER = ROOT / "examples" / "notebooks"
NAMES = ("detect_and_draw", "name_breeds", "sort_faces", "three_heads", "train_own_classes")
# The code cells of a notebook one after the other, as a kernel runs them.
RUN = """
import json, sys
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), sys.argv[1], "exec"), space)
"""


def notebook(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return content


def script_cells(text: str) -> list[tuple[str, str]]:
    """(kind, source) of each cell of a script in jupytext's percent format."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)[1:]
    cells = []
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        markdown, source = "[markdown]" in head, body.strip("\n")
        if markdown:
            source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.splitlines())
        cells.append(("markdown" if markdown else "code", source))
    return cells


def test_each_of_the_five_examples_is_a_notebook() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == list(NAMES)
    assert set(NAMES) <= {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_script_and_holds_no_output(name: str) -> None:
    content, script = notebook(name), (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]
    assert cells == script_cells(script), "run: jupytext --sync examples/notebooks/*.py"
    assert content["metadata"]["jupytext"]["formats"] == "ipynb,py:percent"
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 10_000


@pytest.fixture(scope="module")
def variables(cli: Cli, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Name of a notebook -> the variables that name small things to work on."""
    root = tmp_path_factory.mktemp("notebooks")
    runs = make_runs(cli, root, ("dogs", "objects"))
    image = root / "red.png"
    Image.new("RGB", (80, 60), (220, 30, 30)).save(image)
    heads = [root / "a", root / "b"]
    for folder in heads:
        start = "--data", root / "dogs", "--weights", runs["dogs"], "--freeze"
        assert cli("finetune", "dogs", *start, "--out", folder).code == 0
    draw_crops(root / "album", people=2, each=2)
    return {name: {key: str(value) for key, value in given.items()} for name, given in {
        "detect_and_draw": {"MODEL": runs["objects"], "IMAGE": image},
        "name_breeds": {"MODEL": runs["dogs"], "IMAGES": image},
        "sort_faces": {"WEIGHTS": weights, "ALBUM": root / "album", "OUT": "", "ALIGN": "none"},
        "three_heads": {"IMAGE": image, "RUNS": ",".join(map(str, heads))},
        "train_own_classes": {"DATA": root / "dogs", "IMAGE": image, "OUT": "", "WEIGHTS": ""},
    }.items()}


def by_cells(path: Path, given: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=FOLDER, env=os.environ | given,
        capture_output=True, text=True, check=False, timeout=500,
    )
    assert done.returncode == 0, done.stderr


def by_kernel(path: Path, given: dict[str, str]) -> None:
    """As Jupyter does, where it is installed."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="pip install -e '.[notebooks]'")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in given.items():
            patch.setenv(key, value)
        content = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(content, timeout=500, resources={"metadata": {"path": str(FOLDER)}}).execute()


@pytest.mark.slow
@pytest.mark.parametrize("execute", [by_cells, by_kernel])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end(
    name: str, execute: Callable[[Path, dict[str, str]], None], variables: dict[str, dict[str, str]],
    tmp_path: Path,
) -> None:
    given = dict(variables[name])
    if "OUT" in given:
        given["OUT"] = str(tmp_path / "out")
    execute(FOLDER / f"{name}.ipynb", given)
    if name == "train_own_classes":
        assert (tmp_path / "out" / "report.html").is_file()
