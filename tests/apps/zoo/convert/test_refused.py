"""What the importer refuses: one line, exit code 1, and nothing half-written, through the real commands."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import pytest
import tflite
import torch
from importing_support import SIZE, folded, trained, with_background, write_float, write_keras
from ssd_file_support import POST_PROCESS, network, write_ssd
from tflite_writer import write_mobilenet


class Bad:
    """Files that are refused, and the word in the one line that says why."""

    @staticmethod
    def of_another_network(path: Path) -> None:
        write_float(path, trained(), extra=tflite.BuiltinOperator.ADD)

    @staticmethod
    def of_another_activation(path: Path) -> None:
        write_float(path, trained(), activation=tflite.ActivationFunctionType.TANH)

    @staticmethod
    def too_short(path: Path) -> None:
        state = trained()
        write_mobilenet(path, folded(state)[:-2], with_background(state), resolution=SIZE)

    @staticmethod
    def of_other_channels(path: Path) -> None:
        state = trained()
        layers = [(w[:-1], b[:-1], s) if n == 4 else (w, b, s) for n, (w, b, s) in enumerate(folded(state))]
        write_mobilenet(path, layers, with_background(state), resolution=SIZE)

    @staticmethod
    def cut_off_tflite(path: Path) -> None:
        write_float(path, trained())
        path.write_bytes(path.read_bytes()[:3000])

    @staticmethod
    def ssd_of_another_end(path: Path) -> None:
        write_ssd(path, network(), end="Custom_NMS_PostProcess")

    @staticmethod
    def ssd_without_variances(path: Path) -> None:
        write_ssd(path, network(), end=POST_PROCESS, scales={})

    @staticmethod
    def ssd_on_other_maps(path: Path) -> None:
        write_ssd(path, network(), maps=(20, 26, 28, 30, 32, 34))

    @staticmethod
    def ssd_with_another_score(path: Path) -> None:
        write_ssd(path, network(), score=tflite.BuiltinOperator.TANH)

    @staticmethod
    def ssd_without_labels(path: Path) -> None:
        write_ssd(path, network())

    @staticmethod
    def cut_off_ssd(path: Path) -> None:
        write_ssd(path, network(), end=POST_PROCESS)
        path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])

    @staticmethod
    def ssd_not_finite(path: Path) -> None:
        made = network()
        torch.nn.init.constant_(made.head.classification[1].bias, float("inf"))  # type: ignore[arg-type]
        write_ssd(path, made)

    @staticmethod
    def cut_off_h5(path: Path) -> None:
        write_keras(path, trained())
        path.write_bytes(path.read_bytes()[:20_000])

    @staticmethod
    def cut_off_pt(path: Path) -> None:
        torch.save(trained(), path)
        path.write_bytes(path.read_bytes()[:20_000])

    @staticmethod
    def h5_of_others(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["x"] = [1.0]

    @staticmethod
    def text(path: Path) -> None:
        path.write_text("These are no weights.\n")

    @staticmethod
    def empty(path: Path) -> None:
        path.write_bytes(b"")

    @staticmethod
    def not_finite(path: Path) -> None:
        state = trained()
        state["blocks.3.2.conv_pw.weight"][0, 0] = float("nan")
        write_float(path, state)

    @staticmethod
    def pickled_code(path: Path) -> None:
        path.write_bytes(pickle.dumps(_Runs(path.parent / "ran")))

    @staticmethod
    def pickled_code_in_a_zip(path: Path) -> None:
        torch.save({"a": _Runs(path.parent / "ran")}, path)


class _Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and stderr of the real command line, in this process."""
    from apps.cli.main import cli, main
    from apps.cli.weights import weights

    cli.commands.setdefault("weights", weights)
    code = main(["weights", *map(str, arguments)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(("make", "word"), [
    (Bad.of_another_network, "operator 27 is ADD"), (Bad.of_another_activation, "has activation TANH;"),
    (Bad.too_short, "25 convolutions"), (Bad.of_other_channels, r"convolution 5 "),
    (Bad.cut_off_tflite, "not a whole TFLite file"), (Bad.cut_off_h5, "not a whole HDF5 file"),
    (Bad.cut_off_pt, "not a whole PyTorch file"), (Bad.h5_of_others, "layer_names"),
    (Bad.ssd_of_another_end, "ends in Custom_NMS_PostProcess, which is not read here"),
    (Bad.ssd_without_variances, "PostProcess without x_scale"),
    (Bad.ssd_on_other_maps, "is no SSD on MobileNetV1: its predictors stand on other maps"),
    (Bad.ssd_with_another_score, "is TANH, which MobileNetV1 does not have"),
    (Bad.ssd_without_labels, "6 columns without names: give --labels F"),
    (Bad.cut_off_ssd, "not a whole TFLite file"), (Bad.ssd_not_finite, "a predictor has numbers"),
    (Bad.text, "no file of weights in a known format"),
    (Bad.empty, "is empty; copy or download it again"), (Bad.not_finite, "not finite"),
    (Bad.pickled_code, "wants to run code"), (Bad.pickled_code_in_a_zip, "wants to run code"),
])
def test_what_is_no_mobilenet_is_refused_in_one_line_and_nothing_is_written(
    make: Any, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.bin"
    make(file)
    code, err = command(capsys, "import", file, "--out", tmp_path / "out.safetensors")
    assert (code, err.count("\n")) == (1, 1), err
    assert err.startswith("error: ") and word in err
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_wrong_options_are_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_float(tmp_path / "m.tflite", trained())
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out.safetensors"
    for arguments, word in (
        (["--out", tmp_path / "m.tflite" / "x.safetensors"], "cannot write to"),
        (["--out", tmp_path / "x.pt"], "must end in .safetensors"), (["--out", tmp_path], "is a folder"),
        (["--out", out, "--calibrate", tmp_path / "empty"], "holds 0 photos"),
        (["--out", out, "--calibrate", tmp_path / "nowhere"], "does not exist"),
        (["--out", out, "--width", "0.5"], "no MobileNetV1 of width 0.5"),
    ):
        code, err = command(capsys, "import", file, *arguments)
        assert (code, word in err, "Traceback" in err) == (1, True, False), err
    code, err = command(capsys, "import", tmp_path / "nothing.tflite")
    assert code == 1 and "there is no file" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "m.tflite"]


def test_folded_weights_without_photos_are_imported_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_float(tmp_path / "m.tflite", trained())
    code, err = command(capsys, "import", file, "--out", tmp_path / "out.safetensors")
    assert code == 0 and "keep it frozen" in err
