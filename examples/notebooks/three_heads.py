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
# # Several heads, one pass
# Runs of one backbone, trained by `joint` or with `--freeze`, answer together: the backbone runs once.

# %%
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "cli.py").is_file())
sys.path.insert(0, str(ROOT))  # where this project is
from apps.joint.multi_head import predict_heads

IMAGE = Path(os.environ.get("IMAGE", "photo.jpg"))
RUNS = [Path(run) for run in os.environ.get("RUNS", "runs/both/dogs,runs/both/imagenet").split(",")]

# %%
for line in predict_heads([IMAGE], RUNS):
    for name, answer in line.get("answers", line).items():
        print(name, answer)
