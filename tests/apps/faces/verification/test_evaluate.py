"""`evaluate faces`: on plain folders, insightface's files and LFW, with a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from faces_support import draw_crops, write_face_weights
from PIL import Image
from support import Cli


@pytest.fixture(scope="module")
def trunk(shared: Path) -> Path:
    return shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors"


def test_evaluate_judges_several_models_on_plain_folders_with_one_report(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "crops"
    draw_crops(data, people=12, each=4)
    weights = [write_face_weights(tmp_path / f"w{seed}.safetensors", seed=seed) for seed in (0, 1)]
    answer = cli(
        "evaluate",
        "faces",
        "--weights",
        weights[0],
        "--weights",
        weights[1],
        "--data",
        data,
        "--report",
        tmp_path / "report",
        "--workers",
        1,
    )
    assert answer.code == 0, answer.err
    first, second = answer.lines
    assert (first["app"], first["model"], second["model"], first["n"]) == ("faces", "w0", "w1", 48)
    assert {"accuracy", "accuracy_se", "auc", "eer", "rank1", "tar@far=1e-2", "threshold@far=1e-2"} <= set(
        first["metrics"]
    )
    assert first["metrics"]["auc"] > 0.9
    assert first["cost"]["parameters"] > 200_000
    page = (tmp_path / "report/report.html").read_text()
    assert "TAR at FAR 1e-2" in page
    assert "M mult-adds" in page
    for name in ("roc.png", "scores.png"):
        assert Image.open(tmp_path / "report" / name).width > 300


def test_evaluate_reads_insightface_files_and_wants_a_model(cli: Cli, tmp_path: Path) -> None:
    import pickle

    paths = draw_crops(tmp_path / "crops", people=8, each=2, size=112)
    pairs = [(paths[2 * i], paths[2 * i + 1], True) for i in range(8)]
    pairs += [(paths[2 * i], paths[(2 * i + 2) % 16], False) for i in range(8)]
    order = [pairs[i // 2 + 8 * (i % 2)] for i in range(16)]
    images = [path.read_bytes() for one in order for path in one[:2]]
    (tmp_path / "small.bin").write_bytes(pickle.dumps((images, [one[2] for one in order])))
    weights = write_face_weights(tmp_path / "w.safetensors")
    (line,) = cli(
        "evaluate",
        "faces",
        "--weights",
        weights,
        "--data",
        tmp_path / "small.bin",
        "--workers",
        1,
        "--report",
        tmp_path / "report",
    ).lines
    assert line["n"] == 32
    assert "rank1" not in line["metrics"]
    assert line["metrics"]["auc"] > 0.8
    assert cli("evaluate", "faces", "--data", tmp_path / "small.bin").code == 2
    assert cli("evaluate", "faces", "--data", tmp_path, "--weights", weights, "--folds", "a").code == 2
    refused = cli("evaluate", "faces", "--data", tmp_path / "crops", "--weights", weights, "--folds", "1")
    assert "--folds are those of a pairs.txt" in refused.last_error


@pytest.mark.long
@pytest.mark.slow
def test_the_trunk_as_it_is_has_the_figures_known_for_it(cli: Cli, shared: Path, trunk: Path) -> None:
    """Folds 7 and 8, resized to 224 px and not aligned: accuracy 96.6 %, TAR at FAR 1e-4 60.3 %."""
    (line,) = cli(
        "evaluate", "faces", "--weights", trunk, "--data", shared / "data/lfw_grey", "--folds", "7,8"
    ).lines
    assert line["metrics"]["accuracy"] == pytest.approx(0.966, abs=0.003)
    assert line["metrics"]["tar@far=1e-4"] == pytest.approx(0.603, abs=0.015)
