"""CelebA's official layout through the commands: any subset, its own splits, its identities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Cli, save_colour

NAMES = ("Red", "Bright", "Bald", "Smiling")
LISTED, THERE = 48, 36


@pytest.fixture(scope="module")
def celeba_root(tmp_path_factory) -> Path:
    """A subset of 36 of 48 photos of 12 people; nobody is bald, and all but the last part are smiling."""
    root = tmp_path_factory.mktemp("celeba")
    attributes, partition, people = [str(LISTED), " ".join(NAMES)], [], []
    for number in range(LISTED):
        name, red, bright = f"{number + 1:06d}.jpg", number % 2, number % 3 == 0
        level = 200 if bright else 60
        if number < THERE:
            colour = (level, level // 3, level // 3) if red else (level // 3, level // 3, level)
            save_colour(root / "img_align_celeba" / name, colour, seed=number)
        split = number // 12 if number < THERE else 2
        signs = (red, bright, False, split < 2)
        attributes.append(" ".join([name, *("1" if one else "-1" for one in signs)]))
        partition.append(f"{name} {split}")
        people.append(f"{name} {number // 4}")
    (root / "Anno").mkdir()
    (root / "Eval").mkdir()
    (root / "Anno" / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (root / "Anno" / "identity_CelebA.txt").write_text("\n".join(people) + "\n")
    (root / "Eval" / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return root


def test_a_small_part_of_celeba_is_learned_and_told(cli: Cli, celeba_root: Path, tmp_path: Path) -> None:
    """What is the same on all photos of the part is left out and named, not an error: nobody chose it."""
    run = tmp_path / "run"
    answer = cli(
        "finetune", "attributes", "--data", celeba_root, "--resolution", 32, "--batch-size", 6, "--epochs", 2,
        "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    assert "the same on all 12 photos of this part of CelebA, so not learned: Bald, Smiling" in answer.err
    config = json.loads((run / "config.json").read_text())
    assert config["classes"] == ["Red", "Bright"]
    assert (config["data"]["train"], config["data"]["val"]) == (12, 12)
    judged = cli("evaluate", "attributes", "--checkpoint", run, "--split", "test", "--workers", 0)
    assert judged.code == 0, judged.err
    assert judged.lines[0]["n"] == 12
    assert "CelebA's test lists 24 photos, 12 are there" in judged.err


def test_an_attribute_that_was_asked_for_and_is_constant_is_an_error(
    cli: Cli, celeba_root: Path, tmp_path: Path
) -> None:
    answer = cli(
        "finetune", "attributes", "--data", celeba_root, "--names", "Red,Bald", "--workers", 0,
        "--out", tmp_path / "run",
    )
    assert answer.code == 1
    assert "attribute Bald is 0 on all 12 photos to learn from: nothing can be learned" in answer.last_error
    assert not (tmp_path / "run" / "config.json").exists()


def test_intervals_draw_the_people_that_celeba_names(celeba_root: Path) -> None:
    """All photos lie in one folder: without the list of identities each would be a person of its own."""
    from apps.attributes.data import attribute_split, evaluation_of
    from apps.attributes.names import Layout
    from apps.attributes.task import AttributesSettings

    photos = attribute_split(AttributesSettings(data=celeba_root), "val", classes=("Red", "Bright"))
    paths = [str(photo.path) for photo in photos.photos]
    found = evaluation_of(
        photos.columns, photos.columns, Layout(("Red", "Bright")), paths, owners=photos.owners
    )
    assert sorted(set(found.people.tolist())) == [0, 1, 2]
    unknown = evaluation_of(photos.columns, photos.columns, Layout(("Red", "Bright")), paths)
    assert len(set(unknown.people.tolist())) == 12
