"""The benchmark of slices: large photos hold small ones as they are, and their boxes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import slices


def test_large_photos_hold_small_ones_at_their_size_and_their_boxes(shared, tmp_path):
    data, folder = shared / "data" / "coco128", tmp_path / "large"
    folder.mkdir()
    count = slices.mosaics(data, folder, 1, seed=0)
    made = json.loads((folder / slices.ANNOTATIONS).read_text())
    given = json.loads((data / slices.ANNOTATIONS).read_text())
    assert count == len(made["annotations"]) > 100
    (image,) = made["images"]
    large = np.asarray(Image.open(folder / "val2017" / image["file_name"]).convert("RGB"), float)
    assert large.shape == (slices.HEIGHT, slices.WIDTH, 3)
    small = {item["id"]: item["file_name"] for item in given["images"]}
    sides = {(item["category_id"], *item["bbox"][2:]): item for item in given["annotations"]}
    for item in made["annotations"][:40]:
        x, y, width, height = map(round, item["bbox"])
        old = sides[item["category_id"], *item["bbox"][2:]]
        left, top = map(round, old["bbox"][:2])
        picture = np.asarray(Image.open(data / "val2017" / small[old["image_id"]]).convert("RGB"), float)
        parts = [large[y : y + height, x : x + width], picture[top : top + height, left : left + width]]
        rows, columns = (min(part.shape[axis] for part in parts) for axis in (0, 1))
        assert np.abs(parts[0][:rows, :columns] - parts[1][:rows, :columns]).mean() < 12


def test_no_photos_are_refused(shared):
    import argparse

    parser = argparse.ArgumentParser()
    slices.add_options(parser)
    data = str(shared / "data" / "coco128")
    options = parser.parse_args(["--data", data, "--weights", "w", "--photos", "0"])
    with pytest.raises(ValueError, match="--photos must be 1 or more, got 0"):
        slices.run(options)
