"""The application of ImageNet's 1000 classes, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import COLOURS, Cli, save_colour

from apps.imagenet import ImageNet, ImageNetSettings, imagenet_classes

SAMOYED, BEAGLE = "n02111889", "n02088364"


@pytest.fixture(scope="module")
def dogs(imagewoof: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four real validation photos of two classes, in folders."""
    root = tmp_path_factory.mktemp("dogs")
    for wnid in (SAMOYED, BEAGLE):
        (root / "val" / wnid).mkdir(parents=True)
        for photo in sorted((imagewoof / "val" / wnid).iterdir())[:2]:
            shutil.copy(photo, root / "val" / wnid)
    return root


def test_every_layout_of_the_same_photos_gives_the_same_figures(
    cli: Cli, dogs: Path, weights_025: Path, tmp_path: Path
) -> None:
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(
        f"{photo.stem},{photo.parent.name} 1 2 3 4\n" for photo in dogs.glob("val/*/*.JPEG")
    ))
    for photo in dogs.glob("val/*/*.JPEG"):
        shutil.copy(photo, tmp_path)
    answers = [
        cli("evaluate", "imagenet", "--weights", weights_025, "--data", data, "--workers", 0)
        for data in (dogs, dogs / "val", tmp_path)
    ]
    assert [answer.code for answer in answers] == [0, 0, 0], answers[0].err
    figures = [answer.lines[0] for answer in answers]
    assert figures[0]["n"] == 4
    assert figures[0]["metrics"]["top5"] >= 0.5
    for other in figures[1:]:
        assert other["metrics"] == pytest.approx(figures[0]["metrics"], abs=1e-5)


def test_predict_names_the_1000_classes(cli: Cli, dogs: Path, weights_025: Path) -> None:
    photo = min((dogs / "val" / SAMOYED).iterdir())
    answer = cli("predict", photo, "--weights", weights_025, "--top", 1000, "--workers", 0)
    assert answer.code == 0, answer.err
    names = [one["name"] for one in answer.lines[0]["predictions"]]
    assert names[0] == "Samoyed"
    assert sorted(names) == sorted(imagenet_classes())


def test_weights_that_nothing_calibrated_call_nothing_known(
    cli: Cli, dogs: Path, weights_025: Path, tmp_path: Path
) -> None:
    photo, model = min((dogs / "val" / SAMOYED).iterdir()), tmp_path / "model.onnx"
    exported = cli("export", "--weights", weights_025, "--out", model)
    assert exported.code == 0, exported.err
    for source in (["--weights", weights_025], ["--model", model]):
        (line,) = cli("predict", photo, *source, "--workers", 0).lines
        assert line["unknown"] is None
    assert "`unknown` is null" in Path(f"{model}.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_training_goes_on_with_the_1000_classes_from_a_few_of_them(cli: Cli, tmp_path: Path) -> None:
    for wnid, colour in zip((SAMOYED, BEAGLE), COLOURS.values(), strict=False):
        for split, number in [("train", n) for n in range(4)] + [("val", n) for n in range(4)]:
            save_colour(tmp_path / split / wnid / f"{number}.jpg", colour, seed=number)
    run = tmp_path / "run"
    answer = cli(
        "finetune", "imagenet", "--data", tmp_path, "--resolution", 32, "--epochs", 1, "--batch-size", 8,
        "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    again = cli("evaluate", "imagenet", "--checkpoint", run, "--workers", 0)
    assert again.code == 0, again.err
    assert again.lines[0]["n"] == 8
    assert again.lines[0]["metrics"]["top1"] == pytest.approx(answer.lines[0]["metrics"]["top1"])


def test_training_without_photos_to_learn_from_says_where_they_belong(
    cli: Cli, dogs: Path, tmp_path: Path
) -> None:
    answer = cli("finetune", "imagenet", "--data", dogs, "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.last_error.endswith(f"such as {dogs / 'train' / SAMOYED}/1.JPEG")
    assert "training on ImageNet's classes needs train/WNID/*.JPEG" in answer.last_error


def test_the_drawn_sample_is_refused_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its breeds are none of the 1000 classes."""
    (tmp_path / "README.txt").write_text("drawn")
    monkeypatch.setattr("datasets.synthetic.drawn_dogs.drawn_dogs_root", lambda: tmp_path)
    app = ImageNet(ImageNetSettings(data=tmp_path))
    with pytest.raises(ValueError, match=r"imagenet has no drawn sample: give --data DIR with train/WNID/"):
        app.dataset("train")


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    app = ImageNet(ImageNetSettings(data=tmp_path))
    with pytest.raises(ValueError, match=r"has 2 classes of its own \(cat, dog, ...\), not ImageNet's 1000"):
        app.dataset("val", classes=("cat", "dog"))
