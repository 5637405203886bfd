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
# # What is on an image
# A model answers: a run's folder, a file made by `export`, or the name of published weights,
# which are fetched once.

# %%
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "cli.py").is_file())
sys.path.insert(0, str(ROOT))  # where this project is
import apps

MODEL = os.environ.get("MODEL", "mobilenetv1_1.0_224")
IMAGES = os.environ.get("IMAGES", "photos")  # an image or a folder

# %%
model = apps.load(MODEL)
for image, answer in model.stream([IMAGES], top=3):
    print(image, answer.to_dict())

# %% [markdown]
# `unknown` is true where an image shows nothing that the model was trained on, and null where
# nothing was fitted to tell.
