"""A teacher that is asked about each training view."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faces_support import FAST
from PIL import Image
from support import Cli
from torch.nn.functional import mse_loss
from torchvision.transforms.functional import pil_to_tensor, to_tensor

from apps.engine.core.run_dir import MODEL
from apps.faces.each_view import ViewTeacher, on_views
from apps.faces.teachers import centred, open_teacher


def crops_of(people: Path, side: int) -> list[Image.Image]:
    paths = sorted(people.rglob("*.png"))[:6]
    return [Image.open(path).convert("RGB").resize((side, side)) for path in paths]


@pytest.mark.parametrize("read", [pil_to_tensor, to_tensor])
def test_of_an_undistorted_photo_it_says_what_the_kept_vectors_say(
    people: Path, student: Path, read: Callable[[Image.Image], torch.Tensor]
) -> None:
    """Bytes, as a training reads them, and shares."""
    side, answer = open_teacher(str(student))
    crops = crops_of(people, side)
    vectors = answer(crops)
    mean = vectors.mean(axis=0)
    seen = ViewTeacher(side, answer, mean)(torch.stack([read(crop) for crop in crops]))
    np.testing.assert_allclose(seen, centred(vectors, mean), atol=1e-3)
    plain = ViewTeacher(side, answer, None)(torch.stack([read(crop) for crop in crops]))
    np.testing.assert_allclose(plain, vectors, atol=1e-5)


def test_larger_views_are_shown_at_the_teachers_own_size(people: Path, student: Path) -> None:
    side, answer = open_teacher(str(student))
    shown: list[tuple[int, int]] = []

    def looked(crops: list[Image.Image]) -> np.ndarray:
        shown.extend(crop.size for crop in crops)
        return answer(crops)

    ViewTeacher(side, looked, None)(torch.rand(2, 3, 2 * side, 2 * side))  # type: ignore[arg-type]
    assert shown == [(side, side)] * 2


def test_the_target_is_of_the_batch_and_not_of_the_photo(people: Path, student: Path) -> None:
    side, answer = open_teacher(str(student))
    crop = to_tensor(crops_of(people, side)[0])[None]

    def distance(images: Any, module: Any, targets: dict[str, Any]) -> dict[str, Any]:
        return {"far": mse_loss(dark, targets["vector"])}

    losses = on_views(distance, ViewTeacher(side, answer, None))
    stale = {"vector": torch.from_numpy(answer(crops_of(people, side)[:1]))}
    dark = torch.from_numpy(answer([Image.fromarray(np.uint8(crop[0].permute(1, 2, 0).numpy() * 51))]))
    assert losses(0.2 * crop, torch.nn.Identity(), stale)["far"] < 0.05 * mse_loss(stale["vector"], dark)


def test_a_student_asks_about_what_it_sees_and_goes_on_bit_for_bit(
    cli: Cli, people: Path, student: Path, tmp_path: Path
) -> None:
    """Photos that are cropped and coloured have other vectors, so that another network is learned."""
    told = ("finetune", "faces", "--data", people, "--teacher", student, *FAST)
    views, again, photos = tmp_path / "views", tmp_path / "again", tmp_path / "photos"
    assert cli(*told, "--each-view", "--out", views).code == 0
    assert cli(*told, "--each-view", "--out", again, "--stop-after", 1).code == 0
    resumed = cli("finetune", "faces", "--resume", "--out", again)
    assert resumed.code == 0, resumed.err
    assert cli(*told, "--out", photos).code == 0
    assert (views / MODEL).read_bytes() == (again / MODEL).read_bytes()
    assert (views / MODEL).read_bytes() != (photos / MODEL).read_bytes()
    assert json.loads((views / "config.json").read_text())["settings"]["each_view"] is True


@pytest.mark.parametrize("more", [(), ("--freeze",)])
def test_it_needs_a_network_to_ask(
    cli: Cli, people: Path, teacher: Path, student: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    who = student if more else teacher
    answer = cli(
        "finetune", "faces", "--data", people, "--teacher", who, "--each-view", *more, "--epochs", 1, "--out",
        tmp_path / "run",
    )
    assert answer.code in {1, 2}
    assert "--each-view asks a network about what the student sees" in answer.last_error
    assert not (tmp_path / "run").exists()
