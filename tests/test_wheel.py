"""The library as a user installs it: a wheel in an empty environment, beside Hugging Face's datasets."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from support import ROOT


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def readme_example() -> str:
    """The Python block of the README that shows the heads as a library."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (block,) = (block for block in blocks if "from heads import" in block)
    return str(block)


def test_the_example_of_the_readme_is_short_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = readme_example()
    assert len([line for line in example.splitlines() if line.strip()]) <= 8
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


HEAVY = ("torch", "functorch", "nvidia", "cuda", "triton")  # how the names of PyTorch's five gigabytes begin


def lend_torch(home: Path) -> None:
    """Links to this environment's PyTorch, which takes minutes to unpack; all else is installed for real."""
    (room,) = (home / "lib").glob("python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.startswith(HEAVY) and not (room / entry.name).exists():
            (room / entry.name).symlink_to(entry)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_wheel_works_in_an_empty_environment_and_leaves_hugging_faces_datasets_alone(
    tmp_path: Path,
) -> None:
    """A wheel with a package called datasets would overwrite theirs without a word."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ".", cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    rooms = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"backbone", "heads"}
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    lend_torch(home)
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, "-c", ROOT / "constraints.txt", wheel, "datasets", cwd=tmp_path)
    example = tmp_path / "example.py"
    example.write_text(readme_example(), encoding="utf-8")
    assert run(python, example, cwd=tmp_path).strip() == "torch.Size([2, 120])"
    theirs = "import datasets; print(datasets.Dataset.from_dict({'a': [1, 2]})['a'][1], datasets.__file__)"
    answer = run(python, "-c", theirs, cwd=tmp_path)
    assert answer.startswith("2 ")
    assert str(home) in answer
