"""Files of others into ours: TFLite, Keras and PyTorch networks answer after import as they did before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from importing_support import SIZE, answer, folded, pairs, trained, write_float, write_keras
from PIL import Image
from safetensors.torch import save_file

from apps.engine.core.console import Console
from apps.engine.data.loader import eval_loader
from apps.zoo.convert.importer import ImportOptions, import_weights, read_source
from apps.zoo.convert.parity import Imported, drawn_images
from apps.zoo.convert.unfold import Moments
from backbone import load_weights
from datasets.base import ImageDataset, Photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(drawn_images(SIZE)):
        pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def bring(path: Path, **options: Any) -> tuple[Imported, dict[str, Any]]:
    out = path.with_name("out.safetensors")
    told = import_weights(path, out, ImportOptions(**options), Console(quiet=True))
    return Imported.of(load_weights(out)), told


def test_a_float_tflite_answers_as_the_network_that_it_was_exported_from(tmp_path: Path) -> None:
    state = trained()
    imported, told = bring(write_float(tmp_path / "m.tflite", state))
    images = drawn_images(SIZE)
    assert torch.allclose(imported.answer(images), answer(state, images), atol=1e-3)
    assert (told["kind"], told["width"], told["resolution"], told["classes"]) == (
        "tflite-float32", 0.25, SIZE, 1000)
    assert (told["parameters"], told["calibrated"], told["batch_norm"]) == (470_072, False, "identity")
    if told["parity"]["interpreter"]:
        assert told["parity"]["interpreter"]["top1_agreement"] == 1.0


def test_measured_batch_norm_changes_no_answer_and_training_sees_what_evaluation_sees(
    tmp_path: Path, photos: Path
) -> None:
    """With the identity for statistics, the first training step would see quite another network."""
    state = trained()
    path, images = write_float(tmp_path / "m.tflite", state), drawn_images(SIZE)
    listing = ImageDataset([Photo(one, 0) for one in sorted(photos.iterdir())], ("photo",))
    apart = {}
    for folder in (photos, None):
        imported, told = bring(path, calibrate=folder)
        assert torch.allclose(imported.answer(images), answer(state, images), atol=1e-3)
        loader = eval_loader(listing, imported.network.preprocessing, batch_size=8, workers=0)
        seen = next(loader.epoch(0)).floats()
        before = imported.answer(seen)
        imported.network.train()
        apart[told["batch_norm"]] = (imported.answer(seen) - before).abs().max().item()
    assert apart["measured"] < 1e-2
    assert apart["identity"] > 1


def test_importing_twice_gives_the_same_numbers_bit_for_bit(tmp_path: Path, photos: Path) -> None:
    path = write_float(tmp_path / "m.tflite", trained())
    first, second = (bring(path, calibrate=photos)[0].network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_half_floats_and_a_scale_a_channel_are_read(tmp_path: Path) -> None:
    state = trained()
    for kind, close in (("float16", 2e-3), ("int8", 2e-2)):
        source = read_source(write_float(tmp_path / f"{kind}.tflite", state, kind=kind))
        assert source.kind == f"tflite-{kind}"
        for layer, (weight, bias, stride) in zip(source.layers, folded(state), strict=True):
            assert layer.stride == stride
            assert np.abs(layer.weight.numpy() - weight).max() <= close * np.abs(weight).max()
            assert layer.bias is not None and np.abs(layer.bias.numpy() - bias).max() <= close
    imported, _ = bring(tmp_path / "float16.tflite")
    images = drawn_images(SIZE)
    assert (imported.answer(images) - answer(state, images)).abs().max() < 0.5


@pytest.mark.parametrize("whole_model", [False, True])
def test_a_keras_file_answers_with_kerass_own_epsilon(tmp_path: Path, whole_model: bool) -> None:
    """Keras divides by sqrt(var + 1e-3): the epsilon travels in the metadata."""
    state = trained(0.5)
    path = write_keras(tmp_path / "mobilenet_5_0_160_tf.h5", state, whole_model=whole_model)
    imported, told = bring(path)
    images = drawn_images(SIZE)
    assert torch.allclose(imported.answer(images), answer(state, images, 0.5, eps=1e-3), atol=1e-3)
    assert (told["resolution"], told["calibrated"], told["batch_norm"]) == (160, True, "original")
    assert load_weights(tmp_path / "out.safetensors").info.arguments["eps"] == 1e-3


def test_a_keras_file_without_top_gives_a_trunk(tmp_path: Path) -> None:
    _, told = bring(write_keras(tmp_path / "mobilenet_2_5_128_tf_no_top.h5", trained(), top=False))
    assert (told["classes"], told["parameters"]) == (0, 470_072 - 257_000)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_pytorch_state_dict_is_read_by_timms_names_or_by_its_order(
    tmp_path: Path, suffix: str, plain: bool
) -> None:
    """Plain names as in Sequential networks: model.2.0, model.10.0, ...: 2 comes before 10."""
    state = trained(padding="symmetric")
    written = state if not plain else {}
    if plain:
        for number, (conv, norm, _) in enumerate(pairs()):
            written[f"model.{number}.0.weight"] = state[f"{conv}.weight"]
            for key in ("weight", "bias", "running_mean", "running_var"):
                written[f"model.{number}.1.{key}"] = state[f"{norm}.{key}"]
        written |= {f"zz_fc.{key}": state[f"classifier.{key}"] for key in ("weight", "bias")}
    path = tmp_path / f"net{suffix}"
    torch.save(written, path) if suffix == ".pt" else save_file(written, path)
    imported, told = bring(path, input="half")
    images = drawn_images(SIZE)
    assert torch.allclose(imported.answer(images), answer(state, images, padding="symmetric"), atol=1e-3)
    assert (told["kind"], told["padding"]) == ("pytorch" if plain else "timm", "symmetric")


def test_moments_of_parts_are_moments_of_the_whole() -> None:
    maps = torch.randn(5, 3, 4, 4, dtype=torch.float64) * 3 + 100
    moments = Moments()
    for part in maps.split([2, 1, 2]):
        moments.add(part)
    assert torch.allclose(moments.mean, maps.mean(dim=(0, 2, 3)))
    assert torch.allclose(moments.variance, maps.var(dim=(0, 2, 3), correction=0))


def test_the_real_uint8_file_equals_its_dequantised_run_and_the_weights_made_before(
    shared: Path, imagewoof: Path, weights_025: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    file = shared / "weights" / "mobilenet_v1_0.25_128_quant.tflite"
    options = ImportOptions(calibrate=imagewoof / "val", photos=64)
    told = import_weights(file, out, options, Console(quiet=True))
    assert told["parity"]["direct"]["max_difference"] <= 1e-3
    assert (told["width"], told["resolution"], told["classes"]) == (0.25, 128, 1000)
    assert told["licence"] == "Apache-2.0"
    new, old = (Imported.of(load_weights(path)) for path in (out, weights_025))
    images = drawn_images(128)
    assert torch.allclose(new.answer(images), old.answer(images), atol=1e-3)
    assert torch.allclose(new.classifier["weight"], old.classifier["weight"], atol=1e-6)
    if told["parity"]["interpreter"]:
        assert told["parity"]["interpreter"]["top1_agreement"] > 0.9
