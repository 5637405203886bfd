"""Draws docs/front.png: python docs/tools/front_picture.py RUN

RUN is a finished run of `finetune dogs` on the drawn sample.
What it shows is all of this project's own making: drawings by code, answers of the run, and its own figures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

import apps
from datasets.synthetic.drawn_dogs import drawn_dogs_root

OUT = ROOT / "docs" / "front.png"
GREEN, RED, GREY = "#1b7f3b", "#b3261e", "#444444"


def main(run: Path, out: Path = OUT) -> None:
    """Draw the picture: a drawing of each breed with its answer, and the run's figures above."""
    folders = sorted(path for path in (drawn_dogs_root() / "val").iterdir() if path.is_dir())
    images = [sorted(folder.iterdir())[3] for folder in folders]
    answers = apps.load(run).predict(images)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.9), dpi=96, layout="constrained")
    for axis, folder, path, answer in zip(axes.flat, folders, images, answers, strict=True):
        assert isinstance(answer, apps.ClassPrediction)
        right = answer.name == folder.name
        axis.imshow(np.asarray(Image.open(path).convert("RGB")))
        title = f"{answer.name.replace('_', ' ')} {answer.probability:.0%}"
        axis.set_title(title, color=GREEN if right else RED, fontsize=10)
        if not right:
            axis.set_xlabel(f"is a {folder.name.replace('_', ' ')}", color=GREY, fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    top1, count = config["metrics"]["top1"], config["data"]["val"]
    what = "make demo: ten invented breeds, drawn and learned from scratch"
    figure.suptitle(f"{what}; top-1 {top1:.1%} of {count} other drawings", fontsize=11)
    figure.savefig(out, metadata={"Software": None})
    shrink(out)


def shrink(path: Path, colours: int = 192) -> None:
    """Fewer colours, so that the file is small."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
