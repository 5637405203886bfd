"""Every option of predict, evaluate, detect, locate and embed-faces with a run of every application."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from runs_support import make_runs
from support import COLOURS, Answer, Cli, save_colour
from task_table import CASES

from apps.cli.output import emit
from apps.engine.core.registry import TASKS, load_task
from apps.faces import NO_FACE

OPTIONS = {
    "top": ("--top", 2), "tta": ("--tta", "mirror"), "crops": ("--crops",), "tta none": ("--tta", "none"),
    "fp32": ("--precision", "fp32"), "bf16": ("--precision", "bf16"), "workers": ("--workers", 1),
    "detector": ("--detector", "mtcnn"),
}
KEYS = {name: case.answer for name, case in CASES.items()}
PAIRS = [(app, option) for app in TASKS for option in OPTIONS]


@pytest.fixture(scope="module")
def runs(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(cli, tmp_path_factory.mktemp("all"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "red.png"
    save_colour(path, COLOURS["red"])
    return path


def crops_of(app: str) -> tuple[str, ...]:
    """What makes a run answer for a photo that shows no face."""
    return ("--crops",) if "crops" in load_task(app).predict_options else ()


def one_line(answer: Answer) -> str:
    """The one line of an answer that refuses."""
    assert answer.code in (1, 2), answer.err
    assert answer.out == ""
    assert "unforeseen" not in answer.err
    return answer.last_error


def test_every_registered_application_has_a_run_here() -> None:
    assert set(CASES) == set(TASKS)


@pytest.mark.parametrize(("app", "option"), PAIRS)
def test_predict_takes_an_option_or_refuses_it_in_one_line(
    cli: Cli, runs: dict[str, Path], photo: Path, app: str, option: str
) -> None:
    asked = ("predict", photo, "--checkpoint", runs[app], *OPTIONS[option])
    answer = cli(*asked, *(() if option in ("crops", "detector") else crops_of(app)))
    known = load_task(app).predict_options
    if option in ("top", "tta", "crops", "detector") and option not in known:
        assert f"--{option} is not for runs of {app}: " in one_line(answer)
        return
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    if option == "detector":
        assert line["error"] == NO_FACE
        return
    assert KEYS[app] in line
    if option == "top":
        assert len(line[KEYS[app]]) <= 2


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("app", TASKS)
def test_an_exported_file_takes_top_where_its_run_does(
    cli: Cli, runs: dict[str, Path], photo: Path, tmp_path: Path, app: str
) -> None:
    assert cli("export", runs[app], "--out", tmp_path / "a.onnx").code == 0
    answer = cli("predict", photo, "--model", tmp_path / "a.onnx", "--top", 2)
    if "top" in load_task(app).predict_options:
        assert answer.code == 0, answer.err
        assert len(answer.lines[0][KEYS[app]]) <= 2
    else:
        assert "--top is not for " in one_line(answer)


@pytest.mark.parametrize(("app", "option"), PAIRS)
def test_predict_heads_takes_an_option_or_refuses_it_in_one_line(
    cli: Cli, runs: dict[str, Path], photo: Path, app: str, option: str
) -> None:
    answer = cli("predict", photo, "--heads", runs[app], *OPTIONS[option])
    if option == "crops":
        assert "--crops goes with --checkpoint RUN of attributes or faces" in one_line(answer)
    elif option in ("top", "tta") and option not in load_task(app).predict_options:
        assert f"--{option} is not for runs of {app}: " in one_line(answer)
    elif option == "detector" and option not in load_task(app).predict_options:
        assert "--detector is not for these runs: " in one_line(answer)
    else:
        assert answer.code == 0, answer.err
        assert list(answer.lines[0]["answers"]) == [app]


def test_several_heads_take_top_if_it_is_of_use_to_one_and_tta_if_it_is_to_all(
    cli: Cli, runs: dict[str, Path], photo: Path
) -> None:
    both = ("predict", photo, "--heads", f"{runs['dogs']},{runs['attributes']}", "--allow-separate")
    answer = cli(*both, "--top", 1)
    assert answer.code == 0, answer.err
    assert len(answer.lines[0]["answers"]["dogs"]["predictions"]) == 1
    assert "--tta is not for runs of attributes" in one_line(cli(*both, "--tta", "mirror"))


@pytest.mark.parametrize("app", TASKS)
@pytest.mark.parametrize("command", [("detect",), ("locate",), ("embed-faces", "--out", "t.parquet")])
def test_commands_of_one_application_refuse_the_runs_of_others_in_one_line(
    cli: Cli, runs: dict[str, Path], photo: Path, app: str, command: tuple[str, ...]
) -> None:
    wanted = {"detect": "objects", "locate": "places", "embed-faces": "faces"}[command[0]]
    answer = cli(command[0], photo, "--checkpoint", runs[app], *command[1:])
    if app == wanted:
        assert answer.code in (0, 1), answer.err
        assert "is a run of" not in answer.err
    else:
        assert f"{runs[app]} is a run of {app!r}, not of {wanted!r}" in one_line(answer)


@pytest.mark.parametrize("app", TASKS)
def test_evaluate_refuses_the_runs_of_other_applications_in_one_line(
    cli: Cli, runs: dict[str, Path], app: str
) -> None:
    other = "places" if app != "places" else "dogs"
    data = runs[other].parent.parent / app
    answer = cli("evaluate", app, "--checkpoint", runs[other], "--data", data)
    assert f"{runs[other]} is a run of {other!r}, not of {app!r}" in one_line(answer)


@pytest.mark.parametrize("app", TASKS)
def test_bad_photos_among_good_ones_have_a_line_and_the_good_ones_an_answer(
    cli: Cli, runs: dict[str, Path], photo: Path, tmp_path: Path, app: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "d.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "b.png").write_bytes(photo.read_bytes()[:200])
    (folder / "c.jpg").write_text("a text with a photo's name")
    (folder / "notes.txt").write_text("no photo")
    asked = ("--checkpoint", runs[app], *crops_of(app))
    answer = cli("predict", folder, folder / "e.png", *asked)
    assert answer.code == 0, answer.err
    assert [Path(line["path"]).name for line in answer.lines] == ["a.png", "b.png", "c.jpg", "d.png", "e.png"]
    assert ["error" in line for line in answer.lines] == [False, True, True, False, True]
    assert answer.lines[4]["error"] == "file not found"
    assert all(KEYS[app] in line for line in (answer.lines[0], answer.lines[3]))
    assert answer.last_error == "3 of 5 photos could not be read"
    for bad in ("b.png", "notes.txt"):
        alone = cli("predict", folder / bad, *asked)
        assert (alone.code, [set(line) for line in alone.lines]) == (1, [{"path", "error"}]), alone.err
    (tmp_path / "empty").mkdir()
    assert "no photo in" in one_line(cli("predict", tmp_path / "empty", *asked))
    assert "nowhere" in one_line(cli("predict", tmp_path / "nowhere", *asked))


def test_one_photo_without_a_face_among_crops_is_no_bad_photo(
    cli: Cli, runs: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "dark.png")
    answer = cli("predict", tmp_path / "dark.png", "--checkpoint", runs["faces"])
    assert (answer.code, len(answer.lines)) == (0, 1)
    assert "error" in answer.lines[0]


VAIN = {
    "places": (("--split", "val"), ("--cells", "c.csv"), ("--min-confidence", 0), ("--ten-crop",),
               ("--no-baselines",), ("--write-predictions", "w.csv"), ("--workers", 1),
               ("--precision", "fp32")),
    "objects": (("--workers", 1), ("--precision", "fp32"), ("--write-predictions", "w.json")),
    "attributes": (("--workers", 1), ("--precision", "fp32"), ("--teacher", "t.csv")),
    "faces": (("--workers", 1), ("--align", "none"), ("--mirror",), ("--keep-thresholds",)),
}


@pytest.mark.parametrize(("app", "option"), [(app, one) for app, options in VAIN.items() for one in options])
def test_evaluate_refuses_options_that_have_no_effect_on_predictions(
    cli: Cli, tmp_path: Path, app: str, option: tuple[str, ...]
) -> None:
    answer = cli("evaluate", app, "--predictions", tmp_path / "p", "--data", tmp_path, *option)
    assert option[0].removeprefix("--no-") in one_line(answer)


def test_a_model_that_is_refused_leaves_the_thresholds_of_the_runs_before_it(
    cli: Cli, runs: dict[str, Path]
) -> None:
    before = (runs["faces"] / "config.json").read_bytes()
    both = ("--checkpoint", runs["faces"], "--checkpoint", runs["dogs"], "--keep-thresholds")
    answer = cli("evaluate", "faces", "--data", runs["faces"].parent.parent / "faces", *both)
    assert "is a run of 'dogs', not of 'faces'" in one_line(answer)
    assert (runs["faces"] / "config.json").read_bytes() == before


def test_what_json_cannot_tell_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": float("inf"), "b": [float("nan"), 1.5, {"c": -float("inf")}], "d": (True, None, "x", 2)})
    line = capsys.readouterr().out
    assert line == '{"a": null, "b": [null, 1.5, {"c": null}], "d": [true, null, "x", 2]}\n'
