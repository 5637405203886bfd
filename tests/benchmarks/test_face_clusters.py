"""What clusters are measured by: BCubed counted by hand, and the command on drawn vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from faces_support import unit_vectors

from benchmarks.__main__ import run_one
from benchmarks.face_clusters import bcubed


def test_bcubed_is_the_mean_over_faces() -> None:
    """A A B in a cluster, B alone: precision (2/3 + 2/3 + 1/3 + 1) / 4, recall (1 + 1 + 1/2 + 1/2) / 4."""
    result = bcubed(np.array([0, 0, 0, -1]), np.array([0, 0, 1, 1]))
    precision, recall = 2 / 3, 3 / 4
    assert (result["precision"], result["recall"]) == (round(precision, 4), round(recall, 4))
    assert result["bcubed_f"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-4)


def test_vectors_of_a_file_are_clustered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = np.repeat(unit_vectors(3, 64), 10, axis=0) + 0.6 * unit_vectors(30, 64, seed=1)
    names = [f"P{number // 10}/{number}" for number in range(30)]
    np.savez(tmp_path / "v.npz", name=np.array(names), vector=vectors.astype(np.float16))
    run_one("face-clusters", ["--vectors", str(tmp_path / "v.npz"), "--threshold", "0.5"])
    line = json.loads(capsys.readouterr().out)
    assert (line["bcubed_f"], line["mixed"], line["people_with_10_photos"], line["whole"]) == (1, 0, 3, 3)
