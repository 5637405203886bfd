"""Attributes: nothing is learned of nothing, silence of a table is heard, and what was judged is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import Cli, save_colour

from apps.attributes.data import attribute_split
from apps.attributes.evaluator import AttributeEvaluation
from apps.attributes.names import Layout, weights_of
from apps.attributes.task import AttributesSettings
from apps.attributes.teachers import load_oracle
from datasets.described.label_tables import photos_of_table, read_label_table
from datasets.multilabel import MultiLabelDataset

PEOPLE = 16


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILENET_APPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """32 squares of 16 people, half of them red; no table."""
    root = tmp_path_factory.mktemp("folder")
    for number in range(2 * PEOPLE):
        colour = (200, 40, 40) if _red(number) else (40, 40, 200)
        save_colour(root / f"p{number // 2}" / f"{number}.png", colour, seed=number)
    return root


def _table(path: Path, header: str, row) -> Path:
    rows = [row(number, f"p{number // 2}/{number}.png") for number in range(2 * PEOPLE)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _red(number: int) -> int:
    return int(number // 2 % 2 == 0)


def test_a_teacher_that_says_nothing_teaches_nothing(folder, tmp_path):
    blank = _table(tmp_path / "t.csv", "image,Red,Blue", lambda n, image: f"{image},{_red(n)},")
    for names in (None, "Red,Blue"):
        given = AttributesSettings(data=folder, teacher=str(blank), names=names)
        with pytest.raises(ValueError, match="attribute Blue is known of no photo to learn from"):
            attribute_split(given, "train")


def test_a_class_that_no_photo_has_is_refused(folder, tmp_path):
    table = _table(tmp_path / "t.csv", "image,Red,age", lambda n, image: f"{image},{_red(n)},")
    given = AttributesSettings(data=folder, table=table, names="Red,age:100")
    with pytest.raises(ValueError, match="attribute age is known of no photo to learn from"):
        attribute_split(given, "train")


def test_all_constant_attributes_are_named_at_once(folder, tmp_path):
    table = _table(tmp_path / "t.csv", "image,Red,Old,Sad", lambda n, image: f"{image},{_red(n)},0,1")
    with pytest.raises(ValueError, match=r"Old is 0 on all 26 photos; attribute Sad is 1 on all 26 photos"):
        attribute_split(AttributesSettings(data=folder, table=table), "train")


def test_a_teacher_speaks_of_what_the_table_lacks(folder, tmp_path):
    """The labels know Red, the teacher the age as well: it is taught by the teacher alone, and told."""
    labels = _table(tmp_path / "l.csv", "image,Red", lambda n, image: f"{image},{_red(n)}")
    said = _table(
        tmp_path / "t.csv", "image,age=0,age=1",
        lambda n, image: f"{image},{0.25 * _red(n)},{1 - 0.25 * _red(n)}",
    )
    given = AttributesSettings(data=folder, table=labels, names="Red,age:2", teacher=str(said))
    train = attribute_split(given, "train")
    assert set(train.columns[:, 0]) == {0, 1}
    assert set(np.round(train.columns[:, 1], 6)) == {0, np.float32(0.25)}
    assert any("has no age: only the teacher speaks of it" in note for note in train.notes)
    val = attribute_split(given, "val")
    assert np.isnan(val.columns[:, 1:]).all()
    with pytest.raises(ValueError, match="has no column age"):
        attribute_split(AttributesSettings(data=folder, table=labels, names="Red,age:2"), "train")


def test_a_class_named_as_yes_and_no_is_hinted_at():
    known = Layout(("Male",), {"age": 100})
    with pytest.raises(ValueError, match="knows age as a class of 100, not as yes and no: name it age:100"):
        Layout(("Male", "age")).taken(np.zeros((1, 101), np.float32), known, "--teacher")


def test_probabilities_of_a_class_add_up_to_1(folder, tmp_path):
    said = _table(tmp_path / "t.csv", "image,age=0,age=1", lambda _, image: f"{image},0.6,0.7")
    with pytest.raises(ValueError, match=r"row 1: the probabilities of age add up to 1\.3, not 1"):
        attribute_split(AttributesSettings(data=folder, teacher=str(said)), "train")


def test_weights_of_nothing_are_refused():
    with pytest.raises(ValueError, match="--weights-of gives all of Male, Sad no weight"):
        weights_of("Male=0,Sad=0", ["Male", "Sad"])
    with pytest.raises(ValueError, match="--teacher-weight is a teacher's share: give --teacher"):
        AttributesSettings(teacher_weight=0.5)


def test_a_blank_person_is_nobody_in_particular(folder, tmp_path):
    """Half of the cells are blank: those photos go by their folders, and do not become one person."""
    table = _table(
        tmp_path / "t.csv", "image,Red,person",
        lambda n, image: f"{image},{_red(n)},{'Ann' if n < 8 else ''}",
    )
    read = read_label_table(table)
    photos: MultiLabelDataset = photos_of_table(folder, read, table)
    assert photos.people is not None
    assert len(set(photos.people)) == 1 + PEOPLE - 4
    assert any("does not say who is on 24 photos" in note for note in photos.notes)


def test_an_attribute_with_no_negative_has_no_average_precision():
    """Precision is 1 whatever is said: a mean over attributes would be praised for it."""
    labels = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    said = np.array([[0.1, 0.9], [0.2, 0.1], [0.3, 0.2]])
    found = AttributeEvaluation(said, labels, ("All", "Some"), ("a", "b", "c")).metrics()
    assert found["ap/All"] is None
    assert found["mean_ap"] == found["ap/Some"] == 1


def test_what_a_teacher_judged_says_so(cli: Cli, folder, tmp_path):
    said = _table(tmp_path / "t.csv", "image,Red", lambda n, image: f"{image},{0.8 if _red(n) else 0.1}")
    run = tmp_path / "run"
    answer = cli(
        "finetune", "attributes", "--data", folder, "--teacher", said, "--resolution", 32, "--batch-size", 8,
        "--epochs", 1, "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    judged = cli("evaluate", "attributes", "--checkpoint", run, "--workers", 0, "--report", tmp_path / "page")
    assert judged.code == 0, judged.err
    assert judged.lines[0]["evaluated_by"] == "teacher"
    assert "evaluated by how well it repeats the teacher's decisions" in judged.err
    assert "evaluated by its teacher&#39;s decisions" in (tmp_path / "page" / "report.html").read_text()


def test_the_probe_is_taught_and_nothing_else_is_claimed(cli: Cli, folder, tmp_path, weights_025):
    said = _table(tmp_path / "t.csv", "image,Red", lambda n, image: f"{image},{0.8 if _red(n) else 0.1}")
    answer = cli(
        "finetune", "attributes", "--data", folder, "--teacher", said, "--weights", weights_025, "--freeze",
        "--workers", 0, "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert "has no effect" not in answer.err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["metrics"]["ap/Red"] > 0.9


def test_predictions_of_a_class_are_judged(cli: Cli, folder, tmp_path):
    labels = _table(tmp_path / "l.csv", "image,Red,age", lambda n, image: f"{image},{_red(n)},{n % 3}")
    said = _table(
        tmp_path / "s.csv", "image,note,age=0,age=1,age=2",
        lambda n, image: f"{image},0,{int(n % 3 == 0)},0,{int(n % 3 > 0)}",
    )
    answer = cli("evaluate", "attributes", "--predictions", said, "--data", folder, "--table", labels)
    assert answer.code == 0, answer.err
    wrong = sum(n % 3 == 1 for n in range(2 * PEOPLE))
    assert answer.lines[0]["metrics"]["mae/age"] == pytest.approx(wrong / (2 * PEOPLE))


def test_an_onnx_teacher_of_one_photo_at_a_time_is_asked_so(tmp_path):
    onnx = pytest.importorskip("onnx")
    import torch
    from onnx import TensorProto, helper

    def model(channels: int) -> Path:
        nodes = [
            helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes, "t", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, channels, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, channels])],
        )
        path = tmp_path / f"{channels}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        return path

    images = torch.rand(5, 3, 8, 8)
    oracle = load_oracle(str(model(3)), ["A", "B", "C"])
    np.testing.assert_allclose(oracle.answers(images), images.mean(dim=(2, 3)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"takes \[2, 1, 8, 8\]"):
        load_oracle(str(model(1)), ["A"])
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk\.onnx is not an ONNX model .*; give a classifier"):
        load_oracle(str(tmp_path / "junk.onnx"), ["A"])


@pytest.mark.parametrize(("text", "message"), [
    ("image,A\n,1\n", "row 1: its cell image is blank"),
    ("image,A,A\na.jpg,1,1\n", "has two columns 'A'; leave one"),
    ("image,note\na.jpg,hello\n", "if it holds no label, name the columns that do"),
    ("snap;A\na.jpg;1\n", "has no column 'image'; it has snap, A; columns are parted by commas"),
])
def test_a_table_that_does_not_fit_says_how_to_mend_it(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_table(tmp_path / "t.csv")


def test_tables_of_other_systems_are_read(tmp_path):
    """Backslashes between folders, and yes and no as a column of booleans in Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t.csv").write_text("image,A\np\\1.jpg,1\n")
    assert read_label_table(tmp_path / "t.csv").images == ("p/1.jpg",)
    pq.write_table(pa.table({"image": ["a", "b"], "A": [True, False]}), tmp_path / "t.parquet")
    assert read_label_table(tmp_path / "t.parquet").values.tolist() == [[1], [0]]


def test_a_photo_without_a_face_was_read(cli: Cli, folder, tmp_path, weights_025):
    """One photo shows none and one is text: that is one of two without a face, and one unreadable."""
    table = _table(tmp_path / "t.csv", "image,Red", lambda n, image: f"{image},{_red(n)}")
    run = tmp_path / "run"
    answer = cli(
        "finetune", "attributes", "--data", folder, "--table", table, "--weights", weights_025, "--freeze",
        "--workers", 0, "--out", run,
    )
    assert answer.code == 0, answer.err
    (tmp_path / "text.jpg").write_text("no photo")
    answer = cli("predict", folder / "p0" / "0.png", tmp_path / "text.jpg", "--checkpoint", run)
    assert answer.code == 0
    assert "no face found on 1 of 2 photos" in answer.err
    assert "1 of 2 photos could not be read" in answer.err
    assert cli("predict", tmp_path / "text.jpg", "--checkpoint", run).code == 1


def test_a_crop_that_is_not_square_is_seen_as_in_training():
    """CelebA's are 178 x 218: the middle is seen, not all of it squashed."""
    from PIL import Image

    from apps.engine.data.transforms import eval_transform
    from apps.faces.extraction.align import square_crop

    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[:20] = pixels[-20:] = 255
    pixels[60:80, 40:60] = 200
    seen = eval_transform(64, 1.0)(pixels).permute(1, 2, 0).numpy()
    crop = np.asarray(square_crop(Image.fromarray(pixels), 64))
    assert abs(crop.astype(int) - seen.astype(int)).mean() < 1
    squashed = np.asarray(Image.fromarray(pixels).resize((64, 64)))
    assert abs(squashed.astype(int) - seen.astype(int)).mean() > 10
    assert crop.max() < 210, "the white bands are outside"
