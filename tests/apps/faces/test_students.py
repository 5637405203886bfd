"""Students among other models: one table, kept thresholds, mirrored vectors, what counts as theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from faces_support import EACH, FAST, PEOPLE, config_of
from PIL import Image, ImageOps
from support import Cli

from apps.faces.extraction.torch_embedder import load_torch_face_model
from apps.faces.verification.evaluate import cost_of


def test_runs_stand_in_one_table_beside_their_cost_and_their_teacher(
    cli: Cli, people: Path, teacher: Path, student: Path, tmp_path: Path
) -> None:
    """The columns of the paper's Table 14; the teacher's own share is 1."""
    answer = cli(
        "evaluate", "faces", "--checkpoint", student, "--checkpoint", student, "--teacher", teacher,
        "--data", people, "--report", tmp_path / "report",
    )
    assert answer.code == 0, answer.err
    one, other, best = answer.lines
    assert one == other
    assert best["model"] == "teacher"
    assert best["metrics"]["teacher_share@far=1e-2"] == 1
    expected = one["metrics"]["tar@far=1e-2"] / best["metrics"]["tar@far=1e-2"]
    assert one["metrics"]["teacher_share@far=1e-2"] == pytest.approx(expected)
    page = (tmp_path / "report/report.html").read_text()
    for column in ("M mult-adds", "M parameters", "of the teacher&#39;s at 1e-2"):
        assert column in page


def test_thresholds_are_kept_by_alignment_and_taken_by_the_other_commands(
    cli: Cli, people: Path, student: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(student, copy)
    before = config_of(copy)["calibration"]["faces"]
    answer = cli("evaluate", "faces", "--checkpoint", copy, "--data", people, "--keep-thresholds")
    assert answer.code == 0, answer.err
    kept = config_of(copy)["calibration"]["faces"]["none"]
    assert kept["source"] == f"{PEOPLE * EACH} photos of {people.name}, all against all"
    assert kept["thresholds"]["1e-2"] == answer.lines[0]["metrics"]["threshold@far=1e-2"]
    assert kept != before["none"]
    photos = sorted(people.rglob("*.png"))[:2]
    verified = cli("verify-faces", *photos, "--checkpoint", copy, "--align", "none", "--far", 1e-2)
    assert verified.lines[0]["threshold"] == pytest.approx(kept["thresholds"]["1e-2"])


def test_thresholds_of_no_run_or_of_mirrored_vectors_are_not_kept(
    cli: Cli, people: Path, student: Path, teacher: Path
) -> None:
    for told in (("--predictions", teacher), ("--checkpoint", student, "--mirror")):
        answer = cli("evaluate", "faces", *told, "--data", people, "--keep-thresholds")
        assert answer.code == 1
        assert "--keep-thresholds is for runs" in answer.err


def test_mirrored_vectors_are_of_a_face_and_its_mirror_image_and_cost_twice(student: Path) -> None:
    model = load_torch_face_model(checkpoint=student)
    face = Image.new("RGB", (32, 32), "red")
    face.paste("blue", (0, 0, 9, 32))
    one, other = model.vectors([face, ImageOps.mirror(face)])
    assert np.abs(one - other).max() > 1e-3  # a network that learned little sees little, but it does
    expected = (one + other) / np.linalg.norm(one + other)
    np.testing.assert_allclose(model.mirrored().vectors([face])[0], expected, atol=1e-6)
    assert cost_of(model.mirrored())["mult_adds"] == 2 * cost_of(model)["mult_adds"]
    assert cost_of(model.mirrored())["parameters"] == cost_of(model)["parameters"]


def test_what_only_taught_is_not_counted_as_the_models(
    cli: Cli, people: Path, teacher: Path, student: Path, tmp_path: Path
) -> None:
    """A row a person would be millions of parameters with as many people as teach."""
    out = tmp_path / "run"
    told = ("--data", people, "--teacher", teacher, "--margin-loss", "cosface", *FAST, "--out", out)
    assert cli("finetune", "faces", *told).code == 0
    counts = [cost_of(load_torch_face_model(checkpoint=run)) for run in (out, student)]
    assert counts[0] == counts[1]


def test_vectors_come_from_the_folded_copy_and_equal_those_of_the_network(student: Path) -> None:
    model = load_torch_face_model(checkpoint=student)
    pixels = torch.randint(0, 255, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    assert model.answer is not model.network
    with torch.inference_mode():
        torch.testing.assert_close(model.answer(pixels), model.network(pixels / 255), atol=1e-4, rtol=1e-4)
