"""What lies beside an exported file, and what is there already: nothing is replaced unasked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.engine.core.files import write_text
from apps.export.bundle import script
from apps.export.page.write import FIRST, MODELS, card_name
from apps.export.targets import TARGETS

RUNNER = "run.py"
PAGE = ("index.html", "model.onnx", "model.json")


def card_paths(out: Path, to: str, stem: str = FIRST) -> dict[str, str]:
    """Where the two cards of a file are: each file has its own, ``dogs.xml`` and ``dogs.pt2`` too.

    Args:
        out: the file, or the folder of a page.
        to: the format.
        stem: of the model's files in a page.
    """
    base = str(out / card_name(stem)).removesuffix(".md") if TARGETS[to].folder else out
    return {"card": f"{base}.md", "card_json": f"{base}.json"}


def check_free(out: Path, to: str, *, overwrite: bool) -> None:
    """Refuse names that are taken, before minutes of work.

    Raises:
        FileExistsError: a file that would be written is there.
        ValueError: a page would lie among other files, which would be shown with it.
    """
    if TARGETS[to].folder and out.is_dir() and not (out / MODELS).exists():
        other = next((path for path in sorted(out.iterdir()) if not path.name.startswith(".")), None)
        if other is not None:
            raise ValueError(
                f"{out} holds other files ({other.name}, ...), which whoever serves the page would show, "
                "too; give a new or empty folder with --out"
            )
    names = [out / name for name in PAGE] if TARGETS[to].folder else [out]
    if to == "openvino":
        names.append(out.with_suffix(".bin"))
    taken = [path for path in (*names, *map(Path, card_paths(out, to).values())) if path.exists()]
    if taken and not overwrite:
        raise FileExistsError(f"{taken[0]} is there already; give another --out, or --overwrite")


def runner_beside(
    out: Path, to: str, say: Callable[[str], None], *, overwrite: bool = False
) -> dict[str, Any]:
    """``{"runner"}``, the script that answers by the file; nothing where the format has none."""
    if not TARGETS[to].runner:
        return {}
    path = out.with_name(RUNNER)
    runner = write_runner(out, overwrite=overwrite)
    if runner is None:
        say(f"{path} is no script of ours, so it stays and none is written")
    elif named_in(runner) != out.name:
        say(f"{path} is there already and stays: give it --model {out.name}")
    return {"runner": None if runner is None else str(runner)}


def write_runner(out: Path, *, overwrite: bool = False) -> Path | None:
    """A script beside an exported file that answers with it and needs nothing of this project.

    Args:
        out: the file.
        overwrite: replace a script of ours that is there; it answers by default for another file.

    Returns:
        The script, ``run.py``; None where a file of that name is there that is not ours.
    """
    path, text = out.with_name(RUNNER), script()
    first = text.partition("\n")[0]
    if path.exists():
        if not path.read_text(encoding="utf-8", errors="replace").startswith(first):
            return None
        if not overwrite:
            return path
    write_text(path, text.replace('MODEL = "model.onnx"', f"MODEL = {json.dumps(out.name)}", 1))
    return path


def named_in(runner: Path) -> str | None:
    """The file that a script of ours answers by where nobody names one."""
    for line in runner.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("MODEL = "):
            return str(json.loads(line.removeprefix("MODEL = ").split("#")[0]))
    return None
