"""finetune faces: a student learns a teacher's vectors, and every face command takes its run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from faces_support import DIM, EACH, FAST, PEOPLE, config_of, names_of
from support import Cli

from apps.engine.core.console import Console
from apps.faces.extraction.loading import load_face_model
from apps.faces.task import Faces, FacesSettings
from apps.faces.teachers import centred, teacher_vectors

pytestmark = pytest.mark.computes


def test_nobody_is_learned_from_and_judged_by(people: Path, student: Path) -> None:
    from apps.engine.core.model import load_run

    app, _, config = load_run(student, app="faces")
    train, val = app.dataset("train"), app.dataset("val")
    assert len(train.photos) + len(val.photos) == PEOPLE * EACH
    assert not {p.path.parent for p in train.photos} & {p.path.parent for p in val.photos}
    assert not any(person.name in json.dumps(config.classes) for person in people.iterdir())


def test_a_run_embeds_judges_and_carries_its_thresholds(cli: Cli, people: Path, student: Path) -> None:
    kept = config_of(student)["calibration"]["faces"]["none"]
    assert "all against all" in kept["source"]
    assert set(kept["thresholds"]) <= {"1e-2", "1e-3", "1e-4"}
    photos = sorted(people.rglob("*.png"))[:2]
    answer = cli("verify-faces", *photos, "--checkpoint", student, "--align", "none", "--far", 1e-2)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["threshold"] == pytest.approx(kept["thresholds"]["1e-2"])
    judged = cli("evaluate", "faces", "--checkpoint", student, "--data", people)
    assert judged.code == 0, judged.err
    assert judged.lines[0]["cost"]["mult_adds"] > 0


def test_the_vectors_of_a_run_are_unit_vectors_of_the_head(student: Path) -> None:
    from PIL import Image

    model = load_face_model(checkpoint=student)
    assert (model.info.dim, model.info.resolution) == (DIM, 32)
    vectors = model.vectors([Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_student_comes_close_to_its_teacher_on_the_people_it_learned(
    cli: Cli, people: Path, teacher: Path, tmp_path: Path
) -> None:
    """Ten times the epochs: the loss must fall far below that of unrelated vectors, 2."""
    out = tmp_path / "run"
    answer = cli(
        "finetune", "faces", "--data", people, "--teacher", teacher, "--width", 0.25, "--resolution", 32,
        "--epochs", 40, "--val-share", 0.3, "--workers", 0, "--lr", 1e-2, "--backbone-lr", 1, "--min-crop", 1,
        "--jitter", 0, "--out", out,
    )
    assert answer.code == 0, answer.err
    losses = [json.loads(line)["train/squared_difference"] for line in (out / "metrics.jsonl").open()]
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < 0.8


def test_centring_takes_away_what_all_vectors_share() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 8)) + 5).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = centred(vectors, vectors.mean(axis=0))
    assert np.linalg.norm(found.mean(axis=0)) < 0.1 < np.linalg.norm(vectors.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
def test_names_alone_teach_with_a_margin_and_a_whole_map(
    cli: Cli, people: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "run"
    answer = cli(
        "finetune", "faces", "--data", people, "--margin-loss", kind, "--no-pooled", "--dim", 256, *FAST,
        "--out", out,
    )
    assert answer.code == 0, answer.err
    (row, *_) = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert set(row) >= {"train/margin", "val/rank1"}
    assert load_face_model(checkpoint=out).info.dim == 256


def test_a_frozen_backbone_teaches_the_head_alone(
    cli: Cli, people: Path, teacher: Path, student: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    answer = cli(
        "finetune", "faces", "--data", people, "--teacher", teacher, "--weights", student, "--freeze",
        "--resolution", 32, "--val-share", 0.5, "--workers", 0, "--out", out,
    )
    assert answer.code == 0, answer.err
    assert config_of(out)["fingerprint"] == config_of(student)["fingerprint"]
    assert "ridge regression" in answer.err


def test_a_run_teaches_another_and_its_vectors_are_kept(
    cli: Cli, people: Path, student: Path, tmp_path: Path
) -> None:
    names = names_of(people)
    paths = [people / f"{name}.png" for name in names]
    first, gone = teacher_vectors(str(student), paths, names, folder=tmp_path, console=Console())
    assert not gone.any()
    (kept,) = tmp_path.glob("vectors-*.npz")
    stamp = kept.stat().st_mtime_ns
    again, _ = teacher_vectors(str(student), paths, names, folder=tmp_path, console=Console())
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert kept.stat().st_mtime_ns == stamp
    model = load_face_model(checkpoint=student)
    from apps.faces.extraction.align import square_crop
    from datasets.image_io import read_image

    own = model.vectors([square_crop(read_image(paths[0]), 32)])[0]
    np.testing.assert_allclose(first[0], own, atol=1e-5)


@pytest.mark.parametrize("raw", [True, False])
def test_an_onnx_file_teaches(people: Path, tmp_path: Path, raw: bool) -> None:
    """Its answer here is the mean of each quarter's colour, so that the order of pixels shows."""

    class Quarters(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(pixels.float(), 8).flatten(1)

    file = tmp_path / "teacher.onnx"
    example = torch.zeros(1, 3, 16, 16, dtype=torch.uint8 if raw else torch.float32)
    torch.onnx.export(
        Quarters().eval(), (example,), file, dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("B")},),
    )
    names = names_of(people)[:3]
    paths = [people / f"{name}.png" for name in names]
    vectors, gone = teacher_vectors(str(file), paths, names, folder=tmp_path / "kept", console=Console())
    assert not gone.any()
    from apps.faces.extraction.align import square_crop
    from datasets.image_io import read_image

    pixels = np.asarray(square_crop(read_image(paths[0]), 16), np.float32).transpose(2, 0, 1)
    wanted = pixels.reshape(3, 2, 8, 2, 8).mean(axis=(2, 4)).ravel()
    wanted = wanted if raw else (wanted - 127.5) / 127.5
    np.testing.assert_allclose(vectors[0], wanted / np.linalg.norm(wanted), atol=1e-4)


def test_facenet_teaches_with_the_weights_that_its_package_keeps(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies where facenet-pytorch would have downloaded it to; its numbers are drawn here."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    network = InceptionResnetV1(classify=True, num_classes=8631).eval()
    folder = tmp_path / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "20180402-114759-vggface2.pt")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    names = names_of(people)[:2]
    paths = [people / f"{name}.png" for name in names]
    vectors, gone = teacher_vectors(
        "facenet:vggface2", paths, names, folder=tmp_path / "kept", console=Console()
    )
    assert vectors.shape == (2, 512)
    assert not gone.any()


@pytest.mark.parametrize(("given", "told"), [
    ((), "nothing to learn from: give --teacher, or --margin-loss arcface or cosface"),
    (("--teacher", "nowhere"), "no such file or run; give a .npz file of vectors"),
    (("--teacher", "nowhere.npz"), "nowhere.npz is missing; give a .npz file with the arrays"),
    (("--teacher", "nowhere.onnx"), "--teacher nowhere.onnx: there is no such file"),
    (("--teacher", "facenet:lfw"), "--teacher facenet:lfw: there are vggface2, casia-webface"),
    (("--margin-loss", "arcface", "--val-folds", "seven"), "--val-folds are numbers such as 7,8, got"),
    (("--margin-loss", "arcface", "--val-folds", "1"), "put LFW's pairs.txt into"),
    (("--margin-loss", "arcface", "--val-share", "0.99"), "of the 8 people in"),
    (("--margin-loss", "arcface", "--dim", "64"), "--dim must be 128 or more, got 64"),
])
def test_what_cannot_be_learned_from_is_refused_in_one_line(
    cli: Cli, people: Path, tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    answer = cli("finetune", "faces", "--data", people, *FAST, *given, "--out", tmp_path / "run")
    assert answer.code in (1, 2)
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_a_teacher_of_other_dimensions_and_one_with_nan_are_refused(
    cli: Cli, people: Path, tmp_path: Path
) -> None:
    names = names_of(people)
    for vectors, told in (
        (np.ones((len(names), 200), np.float32), "the teacher's vectors have 200 dimensions; give --dim 200"),
        (np.full((len(names), DIM), np.nan, np.float32), "photos are not finite, first that of"),
    ):
        file = tmp_path / f"{told[-3:]}.npz"
        np.savez(file, name=np.array(names), vector=vectors)
        answer = cli("finetune", "faces", "--data", people, "--teacher", file, *FAST, "--out", tmp_path / "r")
        assert answer.code == 1
        assert told in answer.err


def test_photos_that_the_teacher_does_not_know_are_left_out_and_said(
    cli: Cli, people: Path, teacher: Path, tmp_path: Path
) -> None:
    with np.load(teacher) as arrays:
        name, vector = arrays["name"], arrays["vector"]
    part = tmp_path / "part.npz"
    np.savez(part, name=name[::2], vector=vector[::2])
    answer = cli("finetune", "faces", "--data", people, "--teacher", part, *FAST, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "photos have no vector of the teacher: left out" in answer.err


def test_judging_by_people_that_were_learned_is_said(cli: Cli, people: Path, student: Path) -> None:
    answer = cli("evaluate", "faces", "--checkpoint", student, "--data", people)
    assert answer.code == 0, answer.err
    assert "learned from people in" in answer.err
    assert "evaluate with other faces by --data" in answer.err


@pytest.mark.parametrize(("content", "told"), [
    (b"no archive", "is no .npz file with the arrays name and vector (File is not a zip file); see docs"),
    (None, "is no .npz file with the arrays name and vector (it has no array name, only vector)"),
])
def test_a_damaged_file_of_vectors_is_told_without_the_librarys_words(
    cli: Cli, people: Path, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "teacher.npz"
    if content is None:
        np.savez(file, vector=np.zeros((3, DIM)))
    else:
        file.write_bytes(content)
    answer = cli("finetune", "faces", "--data", people, "--teacher", file, *FAST, "--out", tmp_path / "run")
    assert answer.code == 1
    assert told in answer.err
    assert "pickle" not in answer.err


def test_a_dataset_runs_no_network_and_the_preparation_does_so_once(
    people: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path))
    task = Faces(FacesSettings(data=people, teacher=str(student), val_share=0.5))
    with pytest.raises(FileNotFoundError, match="are not computed for these"):
        task.dataset("train")
    task.prepare("train", Console(quiet=True))
    (kept,) = tmp_path.rglob("vectors-*.npz")
    photos = task.dataset("train")
    assert photos.vectors is not None and photos.vectors.shape == (len(photos), DIM)
    stamp = kept.stat().st_mtime_ns
    task.prepare("train", Console(quiet=True))
    assert kept.stat().st_mtime_ns == stamp
    task.prepare("val", Console(quiet=True))
    assert len(list(tmp_path.rglob("vectors-*.npz"))) == 1, "evaluation needs no teacher"
