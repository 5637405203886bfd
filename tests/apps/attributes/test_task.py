"""The application attributes: labels, teachers, commands, bad input, on coloured squares by person."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from support import Answer, Cli, same_precision, save_colour

from apps.attributes.data import attribute_split, mixed
from apps.attributes.emulation import emulation
from apps.attributes.names import Layout, weights_of
from apps.attributes.task import Attributes, AttributesSettings
from apps.attributes.teachers import as_probabilities, load_oracle, teacher_columns
from apps.engine.core.console import Console
from datasets.image_io import find_images

PEOPLE, EACH = 20, 2


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILENET_APPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Path:
    """40 squares of 20 people: red ones and bright ones; a label in six is blank, age is the number."""
    root = tmp_path_factory.mktemp("squares")
    rows = ["image,Red,Bright,age"]
    for number in range(PEOPLE * EACH):
        red, bright = number % 4 < 2, number % 3 == 0
        level = 200 if bright else 60
        colour = (level, level // 3, level // 3) if red else (level // 3, level // 3, level)
        name = f"p{number // EACH}/{number}.png"
        save_colour(root / "images" / name, colour, seed=number)
        rows.append(f"{name},{'' if number % 6 == 5 else int(red)},{int(bright)},{number % 5}")
    (root / "attributes.csv").write_text("\n".join(rows) + "\n")
    return root


def _finetune(cli: Cli, data: Path, out: Path, *more: object) -> Answer:
    return cli(
        "finetune", "attributes", "--data", data, "--resolution", 32, "--batch-size", 8, "--workers", 0,
        "--epochs", 4, "--out", out, *more,
    )


@pytest.fixture(scope="module")
def run(cli, squares, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    answer = _finetune(cli, squares, folder, "--names", "Red,Bright,age:5")
    assert answer.code == 0, answer.err
    return folder


def test_a_run_keeps_names_groups_thresholds_and_figures(run):
    config = json.loads((run / "config.json").read_text())
    assert config["classes"] == ["Red", "Bright", "age:5"]
    assert set(config["calibration"]["thresholds"]) == {"Red", "Bright"}
    assert {"mean_ap", "ap/Red", "balanced_accuracy/Bright", "ece", "mae/age"} <= set(config["metrics"])
    heads = {name for name in load_file(run / "model.safetensors") if name.startswith("heads.")}
    names = ("linear.bias", "linear.weight")
    assert heads == {f"heads.attributes.{name}" for name in names}, "runs of before must load"
    page = (run / "report.html").read_text()
    assert "Precision and recall" in page
    assert "Worst mistakes" in page


@pytest.mark.computes
def test_evaluate_says_what_the_training_said_and_adds_groups(cli, run, tmp_path):
    asked = "evaluate", "attributes", "--checkpoint", run, "--report", tmp_path / "page", "--workers", 0
    answer = cli(*asked, *same_precision())
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    kept = json.loads((run / "config.json").read_text())["metrics"]
    for name in ("mean_ap", "ap/Red", "balanced_accuracy/Bright"):
        assert line["metrics"][name] == pytest.approx(kept[name], abs=1e-6)
    assert {row["by"] for row in line["groups"]} == {"Red", "Bright"}
    assert (tmp_path / "page" / "reliability.png").is_file()


def test_predict_on_crops_gives_probability_threshold_and_decision(cli, run, squares):
    photo = next(find_images([squares / "images"]))
    answer = cli("predict", photo, "--checkpoint", run, "--crops")
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    red = line["attributes"]["Red"]
    assert red["decision"] == (red["probability"] >= red["threshold"])
    assert 0 <= line["values"]["age"] <= 4
    assert line["box"] == [0.0, 0.0, 48.0, 48.0]


def test_predict_on_photos_says_where_there_is_no_face(cli, run, squares):
    photo = next(find_images([squares / "images"]))
    answer = cli("predict", photo, "--checkpoint", run)
    assert answer.code == 0
    assert answer.lines == [{"path": str(photo), "error": "no face found"}]
    assert "no face found on 1 of 1 photo" in answer.err


def test_a_run_teaches_and_its_answers_are_kept(cli, run, squares, tmp_path):
    answer = _finetune(
        cli, squares, tmp_path / "student", "--names", "Red,Bright", "--teacher", run, "--preset", "paper"
    )
    assert answer.code == 0, answer.err
    settings = json.loads((tmp_path / "student" / "config.json").read_text())["settings"]
    assert settings["weight_decay"] == 0
    given = {"data": squares, "teacher": str(run), "names": "Red,Bright", "workers": 0}
    taught = attribute_split(AttributesSettings(**given), "train").columns
    paths = [photo.path for photo in attribute_split(AttributesSettings(**given), "train").photos]
    oracle = load_oracle(str(run))
    assert oracle.layout.classes == ("Red", "Bright", "age:5")
    assert not np.isnan(taught).any()
    assert ((taught > 0) & (taught < 1)).all()
    assert len(paths) == len(taught)


def test_a_folder_without_labels_is_learned_from_the_teacher(cli, run, squares, tmp_path):
    shutil.copytree(squares / "images", tmp_path / "faces")
    answer = _finetune(cli, tmp_path / "faces", tmp_path / "student", "--teacher", run)
    assert answer.code == 0, answer.err
    assert "evaluated by how well it repeats the teacher" in answer.err
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["classes"] == ["Red", "Bright", "age:5"]


def test_a_table_of_probabilities_teaches_and_is_judged(cli, squares, tmp_path):
    labels = [line.split(",") for line in (squares / "attributes.csv").read_text().splitlines()[1:]]
    rows = [f"{image},{0.9 if bright == '1' else 0.2}" for image, _, bright, _ in labels]
    said = tmp_path / "said.csv"
    said.write_text("\n".join(["image,Bright", *rows]) + "\n")
    given = AttributesSettings(data=squares, names="Red,Bright", teacher=str(said), teacher_weight=0.5)
    train = attribute_split(given, "train")
    bright = train.columns[:, 1]
    np.testing.assert_allclose(sorted(set(bright.tolist())), [0.1, 0.95], rtol=1e-6)
    assert set(train.columns[:, 0][~np.isnan(train.columns[:, 0])]) == {0, 1}, "Red is of the labels alone"
    answer = cli("evaluate", "attributes", "--predictions", said, "--data", squares)
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    assert line["n"] == PEOPLE * EACH
    assert line["metrics"]["ap/Bright"] == 1
    assert line["metrics"]["balanced_accuracy@chosen/Bright"] == 1


def test_predictions_that_lack_a_photo_are_refused(cli, squares, tmp_path):
    (tmp_path / "said.csv").write_text("image,Bright\np0/0.png,0.5\n")
    answer = cli("evaluate", "attributes", "--predictions", tmp_path / "said.csv", "--data", squares)
    assert answer.code == 1
    assert "has no row for 39 photos, such as" in answer.last_error


def test_the_mix_of_labels_and_teacher_takes_the_one_that_speaks():
    labels = np.array([[1, np.nan, 0, np.nan]], np.float32)
    taught = np.array([[0.6, 0.3, np.nan, np.nan]], np.float32)
    np.testing.assert_allclose(mixed(labels, taught, 0.25), [[0.9, 0.3, 0, np.nan]], rtol=1e-6)


def test_an_attribute_that_is_constant_is_refused(cli, squares, tmp_path):
    text = (squares / "attributes.csv").read_text().replace("image,Red,Bright,age", "image,Red,Bright,Old")
    lines = text.splitlines()
    table = tmp_path / "t.csv"
    table.write_text("\n".join([lines[0], *(line.rpartition(",")[0] + ",0" for line in lines[1:])]) + "\n")
    answer = _finetune(cli, squares, tmp_path / "run", "--table", table)
    assert answer.code == 1
    assert "attribute Old is 0 on all 32 photos to learn from" in answer.last_error


def test_another_table_than_the_checkpoint_knows_is_refused(cli, run, squares, tmp_path):
    (tmp_path / "t.csv").write_text("image,Smiling\np0/0.png,1\n")
    answer = cli("evaluate", "attributes", "--checkpoint", run, "--table", tmp_path / "t.csv")
    assert answer.code == 1
    assert "has no column Red, Bright, age; it has Smiling" in answer.last_error


def test_an_attribute_without_a_positive_is_null(cli, run, squares, tmp_path):
    lines = (squares / "attributes.csv").read_text().splitlines()
    kept = [lines[0], *(line for line in lines[1:] if line.split(",")[1] == "0")]
    (tmp_path / "t.csv").write_text("\n".join(kept) + "\n")
    answer = cli(
        "evaluate", "attributes", "--checkpoint", run, "--table", tmp_path / "t.csv", "--split", "all",
        "--workers", 0, "--report", tmp_path / "page",
    )
    assert answer.code == 0, answer.err
    assert '"ap/Red": null' in answer.out
    assert "attribute Red is 0 on all" in answer.err


def test_a_teacher_that_knows_nothing_of_it_is_refused(run, squares):
    with pytest.raises(ValueError, match="knows Red, Bright, age:5, and none of Smiling"):
        teacher_columns(
            str(run), Layout(("Smiling",)), list(find_images([squares / "images" / "p0"])), ["a", "b"],
            folder=squares.parent / "kept", console=Console(quiet=True), workers=0,
        )


def test_an_onnx_teacher_that_gives_nan_names_the_photo(squares, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Slice", ["f", "zero", "two", "one"], ["s"]),
        helper.make_node("Sub", ["s", "s"], ["z"]),
        helper.make_node("Div", ["z", "z"], ["y"]),
    ]
    def constants(*pairs):
        return [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in pairs]

    def model(last: str) -> Path:
        graph = helper.make_graph(
            nodes, "t", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3, 32, 32])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["B", 2])],
            constants(("zero", 0), ("two", 2), ("one", 1)),
        )
        path = tmp_path / f"{last}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        return path

    paths = list(find_images([squares / "images" / "p0"]))
    layout, kept = Layout(("Red", "Bright")), tmp_path / "kept"
    asked = {
        "paths": paths,
        "images": ["a", "b"],
        "folder": kept,
        "console": Console(quiet=True),
        "workers": 0,
    }
    means = teacher_columns(str(model("s")), layout, **asked)
    red_first = means[0]
    assert red_first[0] > red_first[1], "it is red"
    with pytest.raises(FloatingPointError, match=r"the teacher's answer for .*0\.png is not finite"):
        teacher_columns(str(model("y")), layout, **asked)


@pytest.mark.parametrize(("given", "message"), [
    ({"preset": "paper", "patience": 3}, "no weight decay and no early stopping"),
    ({"preset": "paper", "weight_decay": 0.1}, "no weight decay and no early stopping"),
    ({"sampling": "balanced"}, "needs one class a photo; give --weights-of"),
])
def test_settings_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        AttributesSettings(**given)


def test_weights_are_given_by_name():
    assert weights_of("Sad=5", ["Male", "Sad"]) == [1, 5]
    assert weights_of(None, ["Male"]) == [1]
    with pytest.raises(ValueError, match="takes NAME=WEIGHT of 0 or more for Male, got 'Angry=2'"):
        weights_of("Angry=2", ["Male"])


def test_a_folder_without_labels_and_teacher_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no table of attributes"):
        attribute_split(AttributesSettings(data=tmp_path), "train")


def test_a_name_with_no_number_of_classes_is_refused():
    assert Layout.of(["Male", "age:3"]).columns == ("Male", "age=0", "age=1", "age=2")
    with pytest.raises(ValueError, match="named NAME:CLASSES, as in age:100, got 'age:x'"):
        Layout.of(["age:x"])


def test_the_face_network_knows_a_man_and_an_age(shared):
    """Two men and two women of lfw_grey; the ages are those of adults."""
    root = shared / "data" / "lfw_grey" / "images"
    names = ["Aaron_Eckhart/Aaron_Eckhart_0001", "AJ_Lamas/AJ_Lamas_0001", "AJ_Cook/AJ_Cook_0001"]
    paths = [root / f"{name}.jpg" for name in names]
    oracle = load_oracle(f"face-network:{shared / 'weights' / 'faces_mobilenetv1_1.0_224.safetensors'}")
    from apps.attributes.teachers import asked

    assert oracle.seen.crop == 1, "a crop of a face is seen whole"
    said = asked(oracle, paths, workers=0)
    assert (said[:2, 0] > 0.5).all()
    assert said[2, 0] < 0.5
    years = said[:, 1:] @ np.arange(100)
    assert ((years > 15) & (years < 70)).all()
    np.testing.assert_allclose(said[:, 1:].sum(axis=1), 1, rtol=1e-5)


def test_weights_without_the_heads_are_refused(shared, weights_025):
    with pytest.raises(ValueError, match="has no heads feats, gender_pred, age_pred"):
        load_oracle(f"face-network:{weights_025}")


@pytest.mark.computes
def test_a_run_is_held_against_its_teacher(cli, run, squares):
    """The paper's measure; a run repeats itself at the cost of its own doubt, and no better."""
    answer = cli("evaluate", "attributes", "--checkpoint", run, "--teacher", run, "--workers", 0)
    assert answer.code == 0, answer.err
    told = answer.lines[0]["teacher"]
    for name in ("Red", "Bright", "age"):
        assert told[f"cross_entropy/{name}"] == pytest.approx(told[f"entropy/{name}"], abs=1e-6)
        assert told[f"agreement/{name}"] == 1
    of_names = [told[f"cross_entropy/{name}"] for name in ("Red", "Bright", "age")]
    assert told["cross_entropy"] == pytest.approx(sum(of_names) / 3)


def test_emulation_is_the_mean_over_photos_of_what_the_teacher_says():
    """Written out: two photos, of which the teacher knows one's Red, and a class of three."""
    layout = Layout.of(["Red", "Old", "age:3"])
    taught = np.array([[0.8, np.nan, 0.5, 0.5, 0], [np.nan, np.nan, 0, 0, 1]])
    student = np.array([[0.6, 0.1, 0.4, 0.4, 0.2], [0.2, 0.9, 0.5, 0.25, 0.25]])
    told = emulation(student, taught, layout)
    red = -(0.8 * math.log(0.6) + 0.2 * math.log(0.4))
    age = -(math.log(0.4) + math.log(0.25)) / 2
    assert told["cross_entropy/Red"] == pytest.approx(red)
    assert told["cross_entropy/age"] == pytest.approx(age)
    assert told["cross_entropy"] == pytest.approx((red + age) / 2)
    assert told["agreement/age"] == 0.5
    assert "cross_entropy/Old" not in told


def test_a_blank_cell_of_a_teacher_says_nothing_and_a_word_is_refused(squares, tmp_path):
    labels = [line.split(",") for line in (squares / "attributes.csv").read_text().splitlines()[1:]]
    rows = [f"{image},{'' if n % 2 else 0.9}" for n, (image, *_) in enumerate(labels)]
    said = tmp_path / "said.csv"
    said.write_text("\n".join(["image,Bright", *rows]) + "\n")
    given = AttributesSettings(data=squares, names="Bright", teacher=str(said))
    assert set(np.round(attribute_split(given, "train").columns[:, 0], 6)) == {0, 1, np.float32(0.9)}
    said.write_text(said.read_text().replace(",\n", ",perhaps\n"))
    with pytest.raises(ValueError, match="column Bright: expected a probability from 0 to 1, got 'perhaps'"):
        attribute_split(given, "train")


def test_answers_of_an_onnx_file_are_logits_or_probabilities_as_a_whole():
    """A batch of small positive logits is not read as probabilities when another batch has -3."""
    logits = np.array([[0.2, 0.9], [-3.0, 1.0], [np.nan, np.nan]], np.float32)
    np.testing.assert_allclose(as_probabilities(logits)[0], [0.549834, 0.710950], rtol=1e-5)
    assert np.isnan(as_probabilities(logits)[2]).all()
    np.testing.assert_array_equal(as_probabilities(logits[:1]), logits[:1])


def test_a_run_that_learned_without_labels_is_judged_on_any_split(cli, run, squares, tmp_path):
    shutil.copytree(squares / "images", tmp_path / "faces")
    student = tmp_path / "student"
    assert _finetune(cli, tmp_path / "faces", student, "--teacher", run).code == 0
    for split, photos in (("val", 8), ("train", 32), ("all", 40)):
        answer = cli("evaluate", "attributes", "--checkpoint", student, "--split", split, "--workers", 0)
        assert answer.code == 0, answer.err
        assert answer.lines[0]["n"] == photos


@pytest.mark.computes
def test_a_stopped_training_goes_on_to_the_same_end(cli, squares, run, tmp_path):
    """Two epochs and two more are four: the state is that of a training that was never stopped."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = ("--names", "Red,Bright", "--teacher", run, "--seed", 3)
    assert _finetune(cli, squares, whole, *given).code == 0
    assert _finetune(cli, squares, parts, *given, "--stop-after", 2).code in (0, 1)
    answer = cli("finetune", "attributes", "--resume", "--out", parts)
    assert answer.code == 0, answer.err
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (whole, parts))
    assert first["model_sha256"] == second["model_sha256"]
    assert first["metrics"] == second["metrics"]


def test_a_dataset_asks_no_network_and_the_preparation_does(run, squares, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path))
    task = Attributes(AttributesSettings(data=squares, teacher=str(run), names="Red,Bright", workers=0))
    with pytest.raises(FileNotFoundError, match="are not computed for these"):
        task.dataset("train")
    task.prepare("train", Console(quiet=True))
    columns = task.dataset("train").columns
    assert ((columns > 0) & (columns < 1)).all()
