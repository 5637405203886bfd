"""The real command line on real files: what it answers, and what it says to bad input."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import COLOURS, Cli, save_colour

from backbone import MobileNetV1

SMALL = ("--resolution", 32, "--batch-size", 8, "--workers", 0)


def test_finetune_answers_one_json_line_and_writes_the_run(colour_run: Path) -> None:
    files = {path.name for path in colour_run.iterdir()}
    assert {"model.safetensors", "config.json", "metrics.jsonl", "report.html", "curves.png",
            "confusion.png"} <= files
    config = json.loads((colour_run / "config.json").read_text())
    assert config["classes"] == sorted(COLOURS)
    assert config["settings"]["width"] == 0.25
    assert config["settings"]["epochs"] == 6
    assert 0.0 <= config["metrics"]["top1"] <= 1.0
    assert len(config["fingerprint"]) == 16
    assert len((colour_run / "metrics.jsonl").read_text().splitlines()) == 6
    assert "<html" in (colour_run / "report.html").read_text()[:200]


def test_the_script_runs_from_anywhere_and_its_exit_codes_reach_the_shell(
    cli_process: Cli, colour_run: Path, colours: Path
) -> None:
    answer = cli_process("predict", colours / "val" / "red", "--checkpoint", colour_run, "--workers", 1)
    assert (answer.code, len(answer.lines)) == (0, 4), answer.err
    assert cli_process("predict").code == 2
    assert cli_process("fetch", "nosuch", "--root", "x").code == 1


def test_evaluate_counts_the_photos_that_predict_gets_right(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    answer = cli(
        "evaluate", "dogs", "--checkpoint", colour_run, "--data", colours, "--workers", 0,
        "--report", tmp_path / "report",
    )
    assert answer.code == 0, answer.err
    (result,) = answer.lines
    assert (result["app"], result["n"]) == ("dogs", 12)
    assert (tmp_path / "report" / "report.html").is_file()
    lines = cli("predict", colours / "val", "--checkpoint", colour_run, "--top", 1, "--workers", 0).lines
    right = sum(line["predictions"][0]["name"] == Path(line["path"]).parent.name for line in lines)
    assert result["metrics"]["top1"] == pytest.approx(right / 12)
    low, high = result["intervals"]["top1"]
    assert low <= right / 12 <= high


def test_predict_gives_a_line_a_photo_in_order_and_names_the_bad_one(
    cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    save_colour(tmp_path / "a.png", COLOURS["red"])
    Image.fromarray(np.full((40, 60), 128, np.uint8)).save(tmp_path / "b.png")  # grey
    (tmp_path / "c.jpg").write_text("I am no photo")
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "d.png")
    answer = cli("predict", tmp_path, "--checkpoint", colour_run, "--top", 2, "--workers", 0)
    assert answer.code == 0, answer.err
    assert [Path(line["path"]).name for line in answer.lines] == ["a.png", "b.png", "c.jpg", "d.png"]
    assert ["error" in line for line in answer.lines] == [False, False, True, False]
    first = answer.lines[0]
    assert [set(guess) for guess in first["predictions"]] == [{"name", "probability"}] * 2
    assert isinstance(first["unknown"], bool)
    assert answer.last_error == "1 of 4 photos could not be read"
    alone = cli("predict", tmp_path / "c.jpg", "--checkpoint", colour_run)
    assert (alone.code, len(alone.lines)) == (1, 1)


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    common = ("finetune", "dogs", "--data", colours, *SMALL, "--epochs", 4)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli(*common, "--out", whole).code == 0
    first = cli(*common, "--out", parts, "--stop-after", 2)
    assert first.lines[0]["epochs_done"] == 2
    assert not (parts / "model.safetensors").exists()
    second = cli("finetune", "dogs", "--resume", "--out", parts)
    assert second.code == 0, second.err
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_resumed_run_refuses_other_settings(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("finetune", "dogs", "--data", colours, *SMALL, "--epochs", 2, "--stop-after", 1, "--out", run)
    answer = cli("finetune", "dogs", "--resume", "--lr", 0.5, "--out", run)
    assert answer.code == 1
    assert "--lr 0.01, not 0.5" in answer.last_error
    nothing = cli("finetune", "dogs", "--resume", "--out", tmp_path / "none")
    assert "nothing to resume" in nothing.last_error
    assert not (tmp_path / "none").exists()


def test_a_run_is_never_written_over(cli: Cli, colours: Path, colour_run: Path) -> None:
    before = (colour_run / "config.json").read_bytes()
    answer = cli("finetune", "dogs", "--data", colours, *SMALL, "--out", colour_run)
    assert answer.code == 1
    assert "holds a run already" in answer.last_error
    assert (colour_run / "config.json").read_bytes() == before


def test_a_config_file_sits_between_default_and_flag(cli: Cli, colours: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    rest = "epochs = 1\nresolution = 32\nbatch-size = 8\nworkers = 0\nseed = 3\n"
    file.write_text(f'data = "{colours}"\n{rest}')
    run = tmp_path / "run"
    assert cli("finetune", "dogs", "--config", file, "--seed", 4, "--out", run).code == 0
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert (settings["epochs"], settings["seed"], settings["weight_decay"]) == (1, 4, 0.05)
    file.write_text("epoks = 1\n")
    answer = cli("finetune", "dogs", "--config", file, "--out", tmp_path / "other")
    assert answer.code == 2
    assert "unknown keys epoks" in answer.last_error
    for line, words in (("epochs = 1.5", "epochs must be int, got 1.5"), ("data = 5", "data must be str"),
                        ('freeze = "yes"', "freeze must be bool"), ("epochs = true", "epochs must be int")):
        file.write_text(line)
        answer = cli("finetune", "dogs", "--config", file, "--out", tmp_path / "other")
        assert answer.code == 2
        assert words in answer.last_error
        assert "run.toml" in answer.last_error


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_config_file_may_begin_with_a_byte_order_mark(cli: Cli, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "run.toml").write_text("epochs = 1.5\n", encoding)
    answer = cli("finetune", "dogs", "--config", tmp_path / "run.toml", "--out", tmp_path / "run")
    assert answer.code == 2 and "epochs must be int, got 1.5" in answer.last_error


@pytest.mark.parametrize("path", ["C:\\photos\\dogs", "C:\\temp\\new", "D:\\users\\me"])
def test_a_windows_path_in_a_config_file_is_refused_with_how_to_write_it(
    cli: Cli, tmp_path: Path, path: str
) -> None:
    (tmp_path / "run.toml").write_text(f'epochs = 1\ndata = "{path}"\n')
    answer = cli("finetune", "dogs", "--config", tmp_path / "run.toml", "--out", tmp_path / "run")
    assert answer.code == 2 and f"write data = '{path}'" in answer.last_error
    (tmp_path / "run.toml").write_text(f"data = '{path}'\nepochs = 1.5\n")
    answer = cli("finetune", "dogs", "--config", tmp_path / "run.toml", "--out", tmp_path / "run")
    assert "epochs must be int, got 1.5" in answer.last_error


def test_frozen_training_leaves_the_backbone_bit_for_bit(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    state = MobileNetV1(0.25).state_dict()
    weights = tmp_path / "w.safetensors"
    save_file(state, weights, {"padding": "same", "resolution": "32"})
    run = tmp_path / "run"
    answer = cli(
        "finetune", "dogs", "--data", colours, "--weights", weights, "--freeze", "--workers", 0, "--out", run
    )
    assert answer.code == 0, answer.err
    saved = load_file(run / "model.safetensors")
    assert all(torch.equal(saved[f"backbone.{k}"], v) for k, v in state.items())
    assert answer.lines[0]["metrics"]["top1"] == 1.0  # three colours; any features tell them apart
    again = cli("finetune", "dogs", "--data", colours, "--weights", run, "--freeze", "--workers", 0,
                "--out", tmp_path / "again")
    assert again.code == 0, again.err
    configs = [json.loads((folder / "config.json").read_text()) for folder in (run, tmp_path / "again")]
    assert configs[0]["fingerprint"] == configs[1]["fingerprint"]


def test_a_truncated_photo_among_good_ones_is_named_and_never_fatal(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(colours, data)
    broken = data / "train" / "red" / "3.png"
    broken.write_bytes(broken.read_bytes()[:300])
    answer = cli("finetune", "dogs", "--data", data, *SMALL, "--epochs", 2, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["skipped"] == 1
    assert answer.err.count("skipped: ") == 1
    assert str(broken) in answer.err


def one_photo_class(root: Path) -> Path:
    for name, count in (("a", 3), ("b", 3), ("lonely", 1)):
        for number in range(count):
            save_colour(root / "train" / name / f"{number}.png", (50, 60, 70), seed=number)
    return root


def test_a_class_with_one_photo_is_named_and_training_goes_on(cli: Cli, tmp_path: Path) -> None:
    root = one_photo_class(tmp_path / "data")
    answer = cli("finetune", "dogs", "--data", root, "--resolution", 32, "--epochs", 1, "--workers", 0,
                 "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "'lonely' has one photo" in answer.err


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["--data", "{tmp}/none"], 1, "none"),
    (["--data", "{tmp}/empty"], 1, "empty"),
    (["--data", "{colours}", "--lr", "nan"], 2, "--lr must be a finite number"),
    (["--data", "{colours}", "--lr", "0"], 2, "--lr must be above 0"),
    (["--data", "{colours}", "--epochs", "0"], 2, "--epochs must be 1 or more"),
    (["--data", "{colours}", "--epochs", "two"], 2, "two"),
    (["--data", "{colours}", "--width", "0"], 2, "--width must be above 0"),
    (["--data", "{colours}", "--resolution", "8"], 2, "--resolution must be 32 or more"),
    (["--data", "{colours}", "--batch-size", "25"], 1, "more than the 24 training photos"),
    (["--data", "{colours}", "--weights", "{tmp}/narrow.safetensors", "--width", "0.5"], 1, "of width 0.25"),
    (["--data", "{colours}", "--weights", "{tmp}/cut.safetensors"], 1, "not a whole safetensors file"),
    (["--data", "{colours}", "--weights", "nosuch"], 1, "neither a file nor a known name"),
    (["--data", "{colours}", "--backbone", "nosuchnet"], 1, "no network called 'nosuchnet'"),
    (["--data", "{colours}", "--out", "{tmp}/file/run"], 1, "cannot write to"),
    (["--data", "{colours}", "--freeze"], 1, "give --weights"),
    (["--data", "{colours}", "--batch-size", "1"], 1, "give 2 or more"),
    (["--data", "{colours}", "--backbone", "resnet18", "--width", "0.5"], 1, "--width is for mobilenetv1"),
    (["--resume"], 2, "give --out"),
])
def test_bad_settings_are_one_clear_line(
    cli: Cli, colours: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    save_file(MobileNetV1(0.25).state_dict(), tmp_path / "narrow.safetensors", {"padding": "same"})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "narrow.safetensors").read_bytes()[:5000])
    filled = [one.format(tmp=tmp_path, colours=colours) for one in arguments]
    out = [] if "--out" in filled or "--resume" in filled else ["--out", str(tmp_path / "run")]
    answer = cli("finetune", "dogs", *filled, *out)
    assert answer.code == code, answer.err
    assert words in answer.last_error
    assert not answer.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["predict", "{tmp}/none.jpg", "--checkpoint", "{run}"], 1, "none.jpg"),
    (["predict", "{tmp}", "--checkpoint", "{run}"], 1, "no photo in"),
    (["predict", "{tmp}", "--checkpoint", "{run}", "--weights", "x"], 2, "--checkpoint"),
    (["predict", "{tmp}", "--checkpoint", "{tmp}/norun"], 1, "config.json is missing"),
    (["evaluate", "imagenet", "--checkpoint", "{run}"], 1, "a run of 'dogs', not of 'imagenet'"),
    (["evaluate", "dogs"], 2, "--checkpoint"),
    (["evaluate", "cats", "--checkpoint", "{run}"], 2, "No such command 'cats'"),
    (["evaluate", "dogs", "--weights", "x"], 1, "'x' is neither a file nor a known name"),
    (["fetch", "nosuchset", "--root", "{tmp}/x"], 1, "nosuchset"),
])
def test_bad_commands_are_one_clear_line(
    cli: Cli, colour_run: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    answer = cli(*[one.format(tmp=tmp_path, run=colour_run) for one in arguments])
    assert answer.code == code, answer.err
    assert words in answer.last_error
    assert not answer.out


def test_a_cut_off_checkpoint_is_refused(cli: Cli, colour_run: Path, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(colour_run, run)
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    answer = cli("predict", colours / "val" / "red", "--checkpoint", run)
    assert answer.code == 1
    assert "cut off" in answer.last_error


def test_classes_that_the_checkpoint_does_not_know_are_refused_by_name(
    cli: Cli, colour_run: Path, tmp_path: Path
) -> None:
    for name in ("red", "violet"):
        save_colour(tmp_path / "val" / name / "0.png", (90, 0, 90))
    answer = cli("evaluate", "dogs", "--checkpoint", colour_run, "--data", tmp_path)
    assert answer.code == 1
    assert "'violet'" in answer.last_error


def test_an_application_without_a_sample_asks_for_data(cli: Cli, tmp_path: Path) -> None:
    answer = cli("finetune", "imagenet", "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.last_error == "error: imagenet has no built-in sample; give --data DIR"


def test_a_class_without_photos_to_judge_by_is_named(cli: Cli, colour_run: Path, tmp_path: Path) -> None:
    for number in range(2):
        save_colour(tmp_path / "val" / "red" / f"{number}.png", COLOURS["red"], seed=number)
    answer = cli("evaluate", "dogs", "--checkpoint", colour_run, "--data", tmp_path, "--workers", 0)
    assert answer.code == 0
    assert "val has no photo of 2 of 3 classes: 'blue', 'green'" in answer.err


@pytest.mark.slow
@pytest.mark.long
def test_the_number_of_reading_processes_does_not_change_the_weights(
    cli_process: Cli, colours: Path, tmp_path: Path
) -> None:
    models = []
    for workers in (0, 2):
        run = tmp_path / str(workers)
        answer = cli_process(
            "finetune", "dogs", "--data", colours, "--resolution", 32, "--batch-size", 8, "--epochs", 1,
            "--workers", workers, "--out", run,
        )
        assert answer.code == 0, answer.err
        models.append((run / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_a_file_name_that_is_no_utf8_still_gives_valid_json(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/bad\xff.png"))
    odd.write_bytes((colours / "val" / "red" / "0.png").read_bytes())
    answer = cli("predict", odd, "--checkpoint", colour_run, "--workers", 0)
    assert answer.out.isascii()
    assert answer.lines[0]["path"] == str(odd)


def test_a_run_finds_its_photos_from_another_folder(cli: Cli, colour_run: Path) -> None:
    assert cli("evaluate", "dogs", "--checkpoint", colour_run, "--workers", 0).lines[0]["n"] == 12


@pytest.mark.parametrize("edit", [{"settings": "zzz"}, {"calibration": 5}, {"classes": ["a", "b"]}])
def test_an_edited_configuration_is_one_clear_line(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path, edit: dict[str, object]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(colour_run, run)
    config = json.loads((run / "config.json").read_text()) | edit
    (run / "config.json").write_text(json.dumps(config))
    answer = cli("predict", colours / "val", "--checkpoint", run, "--workers", 0)
    assert answer.code == 1
    assert "restore" in answer.last_error
    assert "unforeseen" not in answer.last_error
    alone = cli("predict", colours / "val", "--checkpoint", run / "model.safetensors")
    assert "give the run's folder" in alone.last_error
