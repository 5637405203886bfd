"""``check faces``: strangers in folders and people in two, from vectors; copies with two names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from faces_support import draw_crops
from support import Cli

from apps.faces.checks import identity_problems, unit
from apps.faces.task import Faces, FacesSettings

PEOPLE, EACH = 30, 5


def vectors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    people = np.repeat(np.arange(PEOPLE), EACH)
    middles = rng.normal(size=(PEOPLE, 64))
    made = middles[people] + 0.5 * rng.normal(size=(len(people), 64))
    return unit(made.astype(np.float32)), people


def test_strangers_and_split_people_are_met_and_nobody_else() -> None:
    rng = np.random.default_rng(0)
    made, labels = vectors(rng)
    names, paths = [f"p{n}" for n in range(PEOPLE + 1)], [Path(f"{n}.jpg") for n in range(len(labels))]
    clean = identity_problems(made, labels, paths, names)
    assert clean == {"mixed_folders": [], "split_people": []}
    wrong = labels.copy()
    wrong[[3, 22]] = [7, 12]  # a photo of p0 among p7's, one of p4 among p12's
    wrong[[48, 49]] = PEOPLE  # two of p9 in a folder of their own
    problems = identity_problems(made, wrong, paths, names)
    moves = {move.path: move.name for problem in problems["mixed_folders"] for move in problem.moves}
    assert moves == {paths[3]: "p0", paths[22]: "p4"}
    (split,) = problems["split_people"]
    assert "'p9' and 'p30'" in split.text and {move.path for move in split.moves} == {paths[48], paths[49]}


def test_few_people_and_single_photos_give_no_problem() -> None:
    nobody = {"mixed_folders": [], "split_people": []}
    made = unit(np.eye(4, 8, dtype=np.float32))
    paths, names = [Path("a.jpg")] * 4, list("abcd")
    assert identity_problems(made, np.arange(4), paths, names) == nobody
    assert identity_problems(made[:0], np.arange(0), [], names) == nobody
    assert identity_problems(made, np.zeros(4, np.int64), paths, names) == nobody


def test_a_photo_with_two_names_is_told_of_and_a_training_follows(cli: Cli, tmp_path: Path) -> None:
    data, fix = tmp_path / "data", tmp_path / "moves.csv"
    draw_crops(data, people=8, each=3)
    first, second, *_ = sorted(folder for folder in data.iterdir() if folder.is_dir())
    shutil.copy(sorted(first.iterdir())[0], second / "again.png")
    answer = cli("check", "faces", data, "--no-network", "--fix", fix)
    assert answer.code == 0, answer.err
    problems = answer.lines[0]["problems"]
    assert problems["conflicting_copies"] == 1 and problems["duplicates"] == 1
    assert "mixed_folders, split_people" in answer.lines[0]["not_checked"][0]
    task = Faces(FacesSettings(data=data, margin_loss="arcface", val_share=0.5, fix=fix))
    parts = [task.dataset(split) for split in ("train", "val")]
    assert sum(map(len, parts)) == 8 * 3 + 1 - 2
    assert sum(part.fixed.get("left_out", 0) for part in parts) == 2
