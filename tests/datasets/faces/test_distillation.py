"""Faces with a teacher's vectors as targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.base import Photo
from datasets.faces.distillation import FaceDistillationDataset

PHOTOS = [Photo(Path(f"{n}.jpg"), n % 2) for n in range(3)]


def test_a_target_is_the_person_and_the_teachers_vector() -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    target = FaceDistillationDataset(PHOTOS, ["a", "b"], vectors).target(1)
    assert target["person"] == 1
    np.testing.assert_array_equal(target["vector"], [0, 1, 0, 0])


def test_without_a_teacher_there_is_the_person_only() -> None:
    assert FaceDistillationDataset(PHOTOS, ["a", "b"], None).target(2) == {"person": 0}


def test_another_number_of_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="3 photos need as many vectors, got 2"):
        FaceDistillationDataset(PHOTOS, ["a", "b"], np.zeros((2, 4), np.float32))


def test_vectors_that_are_not_finite_name_the_first_photo() -> None:
    vectors = np.zeros((3, 4), np.float32)
    vectors[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"vectors of 1 photos are not finite, first that of 1\.jpg"):
        FaceDistillationDataset(PHOTOS, ["a", "b"], vectors)
