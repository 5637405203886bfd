"""``check attributes``: contradictions are learned from the values themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.attributes.checks import changing_people, contradictions
from datasets.multilabel import MultiLabelDataset


def labelled(values: np.ndarray, people: list[str] | None = None) -> MultiLabelDataset:
    paths = [Path(f"{n}.jpg") for n in range(len(values))]
    return MultiLabelDataset(paths, ["Bald", "Bangs", "Male"], values.astype(np.float32), people=people)


def test_the_rare_ones_with_what_excludes_itself_are_told_of() -> None:
    rng = np.random.default_rng(0)
    bald = rng.random(600) < 0.3
    bangs = ~bald & (rng.random(600) < 0.5)
    values = np.stack([bald, bangs, rng.random(600) < 0.5], axis=1).astype(float)
    assert contradictions(labelled(values)) == []
    values[np.flatnonzero(bald)[0], 1] = 1
    (problem,) = contradictions(labelled(values))
    assert "is Bald and Bangs, as 1 of 600 are" in problem.text
    assert problem.paths == (Path(f"{np.flatnonzero(bald)[0]}.jpg"),)


def test_a_person_whose_lasting_attribute_changes_is_told_of() -> None:
    rng = np.random.default_rng(1)
    people = [f"p{n // 4}" for n in range(160)]
    male = np.repeat(rng.random(40) < 0.5, 4)
    values = np.stack([rng.random(160) < 0.4, rng.random(160) < 0.5, male], axis=1).astype(float)
    assert changing_people(labelled(values, people)) == []
    values[9, 2] = 1 - values[9, 2]
    (problem,) = changing_people(labelled(values, people))
    assert problem.paths == (Path("9.jpg"),) and "unlike the other 3 of p2" in problem.text
    assert changing_people(labelled(values)) == []
