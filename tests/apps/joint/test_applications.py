"""Tasks of different applications on one backbone, and a joint training that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from support import ROOT, Cli, save_colour

from apps.attributes.task import Attributes
from apps.engine.core import run_dir
from apps.joint.settings import TaskSpec
from apps.joint.train import compared, table

COMMON = ("--resolution", 64, "--batch-size", 4, "--workers", 0)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos with a red box each, as a table."""
    root = tmp_path_factory.mktemp("boxes")
    for split in ("train", "val"):
        rows = ["path,x1,y1,x2,y2,class"]
        for number in range(4):
            image = Image.new("RGB", (90, 70), (90, 120, 90))
            ImageDraw.Draw(image).rectangle((10, 15, 50, 60), fill=(200, 30, 30))
            image.save(root / f"{split}{number}.jpg")
            rows.append(f"{split}{number}.jpg,10,15,50,60,red")
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and a table of one attribute that lies elsewhere."""
    root = tmp_path_factory.mktemp("faces")
    rows = ["image,Red"]
    for number in range(12):
        colour = (200, 40, 40) if number % 4 < 2 else (40, 40, 200)
        save_colour(root / "photos" / f"p{number // 2}" / f"{number}.png", colour, seed=number)
        rows.append(f"p{number // 2}/{number}.png,{int(number % 4 < 2)}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


def words(boxes: Path, faces: Path) -> tuple[object, ...]:
    return (
        "joint", "objects", "attributes",
        "--data", f"objects={boxes}", "--data", f"attributes={faces / 'photos'}",
        "--set", f"attributes.table={faces / 'table.csv'}", "--set", "objects.head=ssd300", *COMMON,
    )


def test_boxes_and_attributes_are_taught_on_one_backbone(
    cli: Cli, boxes: Path, faces: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    answer = cli(*words(boxes, faces), "--epochs", 2, "--bn", "train", "--out", run)
    assert answer.code == 0, answer.err
    assert {"objects/ap50", "attributes/mean_ap"} <= set(answer.lines[0]["metrics"])
    prints = {run_dir.read_config(run / name).fingerprint for name in ("objects", "attributes")}
    assert prints == {answer.lines[0]["fingerprint"]}
    for name in ("objects", "attributes"):
        judged = cli("evaluate", name, "--checkpoint", run / name, "--workers", 0)
        assert judged.code == 0, judged.err
        kept = answer.lines[0]["tasks"][name]["metrics"]
        shared = [key for key in judged.lines[0]["metrics"] if kept.get(key) is not None]
        assert len(shared) > 1
        for key in shared:
            assert judged.lines[0]["metrics"][key] == pytest.approx(kept[key], abs=1e-5), key


def test_a_figure_that_is_undefined_counts_in_no_mean_and_no_comparison() -> None:
    one = {"attributes": {"metrics": {"mean_ap": None, "ece": 0.25}}}
    other = {"attributes": {"metrics": {"mean_ap": 0.5, "ece": 0.5}}}
    found = compared(one, other)
    assert found == {"attributes": {"ece": [0.25, 0.5]}}
    assert "mean_ap" not in table(found, {"attributes": Attributes.metrics})


def test_a_path_among_a_tasks_own_options_is_kept_whole(tmp_path: Path, monkeypatch) -> None:
    """Given from one folder and resumed from another: it is the same file."""
    monkeypatch.chdir(tmp_path)
    task = TaskSpec("faces", "attributes", given={"table": Path("t.csv"), "names": "Red"})
    kept = json.loads(json.dumps(task.to_dict()))
    assert kept["given"] == {"table": str(tmp_path / "t.csv"), "names": "Red"}
    assert TaskSpec(**kept).to_dict() == kept


def test_several_processes_are_refused(
    cli: Cli, boxes: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = cli(*words(boxes, faces), "--epochs", 1, "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.last_error == "error: joint runs in one process; start it without torchrun"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_joint_training_that_is_killed_ends_as_if_it_had_not_been(
    cli: Cli, boxes: Path, faces: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of an epoch leaves no time to tidy up; the state of seconds before goes on."""
    more = ("--epochs", 6, "--bn", "train", "--save-every", 0.05)
    common = [str(word) for word in (*words(boxes, faces), *more)]
    assert cli(*common, "--out", tmp_path / "whole").code == 0
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *common, "--out", str(run)], stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (run / run_dir.TRAINING).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    again = cli("joint", "--resume", "--out", run)
    assert again.code == 0, again.err
    for name in ("objects", "attributes"):
        one, other = (run_dir.read_config(tmp_path / end / name) for end in ("whole", "run"))
        assert one.fingerprint == other.fingerprint
        assert one.metrics == other.metrics
    whole, resumed = (run_dir.load_training_state(tmp_path / end) for end in ("whole", "run"))
    assert all(torch.equal(value, resumed["model"][key]) for key, value in whole["model"].items())


@pytest.fixture(scope="module")
def face_heads(
    cli: Cli, faces: Path, colours: Path, weights_025: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Two heads for faces and one for whole photos, all fitted to the same frozen backbone."""
    root = tmp_path_factory.mktemp("heads")
    common = ("--weights", weights_025, "--freeze", "--workers", 0)
    table = (faces / "table.csv").read_text()
    (root / "t.csv").write_text(table.replace("image,Red", "image,Scarlet"))
    for name, source in (("one", faces / "table.csv"), ("two", root / "t.csv")):
        answer = cli(
            "finetune", "attributes", "--data", faces / "photos", "--table", source, *common,
            "--out", root / name,
        )
        assert answer.code == 0, answer.err
    answer = cli("finetune", "dogs", "--data", colours, *common, "--resolution", 128, "--out", root / "dogs")
    assert answer.code == 0, answer.err
    return {name: root / name for name in ("one", "two", "dogs")}


def test_heads_for_faces_share_one_look_and_one_pass(
    cli: Cli, face_heads: dict[str, Path], shared: Path, colours: Path
) -> None:
    """Every face of a photo is in its line, as the run alone sees it; no face is an answer, no error."""
    group = shared / "data" / "faces_colour" / "group" / "data_multiface.jpg"
    empty = next((colours / "val").rglob("*.png"))
    runs = ",".join(str(face_heads[name]) for name in ("one", "two"))
    answer = cli("predict", group, empty, "--heads", runs)
    assert answer.code == 0, answer.err
    several, none = (line["answers"] for line in answer.lines)
    assert none == {"one": {"faces": []}, "two": {"faces": []}}
    alone = cli("predict", group, "--checkpoint", face_heads["one"]).lines
    assert len(alone) == len(several["one"]["faces"]) == len(several["two"]["faces"]) > 3
    for line, face in zip(alone, several["one"]["faces"], strict=True):
        assert face["box"] == line["box"]
        expected, got = line["attributes"]["Red"], face["attributes"]["Red"]
        assert got["probability"] == pytest.approx(expected["probability"], abs=1e-5)


def test_faces_and_whole_photos_need_a_pass_each(
    cli: Cli, face_heads: dict[str, Path], shared: Path
) -> None:
    group = shared / "data" / "faces_colour" / "group" / "data_multiface.jpg"
    runs = f"{face_heads['one']},{face_heads['dogs']}"
    refused = cli("predict", group, "--heads", runs)
    assert refused.code == 1
    assert "looks at the faces on photos" in refused.last_error
    assert "dogs at whole photos, so one pass does not serve both; give --allow-sep" in refused.last_error
    answer = cli("predict", group, "--heads", runs, "--allow-separate")
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    assert set(line["answers"]) == {"attributes", "dogs"}
    assert len(line["answers"]["attributes"]["faces"]) > 3
