"""What lies beside or behind a file of weights: labels, shards, tables in other files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import pytest
from importing_support import folded, trained, with_background, write_keras
from tfjs_writer import mobilenet

from apps.zoo.convert.keras import read_keras
from apps.zoo.convert.names import class_line
from apps.zoo.convert.source import RefusedError
from apps.zoo.convert.tfjs.manifest import read_model
from apps.zoo.convert.tfjs.mobilenet import read_tfjs


def test_a_manifest_may_not_name_one_file_many_times(tmp_path: Path) -> None:
    state = trained(0.05)
    page = mobilenet(folded(state), with_background(state)).write(tmp_path / "model.json")
    content = json.loads(page.read_text())
    content["weightsManifest"][0]["paths"] *= 100_000  # some terabytes, were they read
    page.write_text(json.dumps(content))
    with pytest.raises(RefusedError, match="the manifest says") as refused:
        read_model(page)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["pipe", "latin"])
def test_labels_are_a_text_in_a_regular_file(name: str, tmp_path: Path) -> None:
    state = trained(0.05)
    source = read_tfjs(mobilenet(folded(state), with_background(state)).write(tmp_path / "model.json"))
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"caf\xe9\n")
    with pytest.raises((OSError, ValueError), match=name):
        class_line(source, path, None)


def test_a_table_in_another_file_is_not_followed(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "net.h5", trained(0.05))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = [1.0, 2.0]
    with h5py.File(path, "a") as file:
        group = next(group for group in file.values() if isinstance(group, h5py.Group) and len(group.attrs))
        name = group.attrs["weight_names"][0]
        name = name.decode() if isinstance(name, bytes) else name
        del group[name]
        group[name] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(RefusedError, match="lies in another file"):
        read_keras(path)
