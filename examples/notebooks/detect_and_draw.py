# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Objects on an image
# A detector answers with boxes in pixels of the image, (x1, y1, x2, y2).

# %%
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "cli.py").is_file())
sys.path.insert(0, str(ROOT))  # where this project is
from PIL import ImageDraw

import apps
from datasets.image_io import read_image

MODEL = os.environ.get("MODEL", "ssd_mobilenetv1_0.75_coco")
IMAGE = os.environ.get("IMAGE", "street.jpg")

# %%
image = read_image(IMAGE)  # upright and in RGB
(answer,) = apps.load(MODEL, app="objects").predict(image)
answer.to_dict()

# %%
pen = ImageDraw.Draw(image)
for item in answer.objects:
    pen.rectangle(item.box, outline="red", width=3)
    pen.text(item.box[:2], f"{item.name} {item.score:.2f}", fill="white", stroke_width=2, stroke_fill="black")
image
