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
# # Your own classes
# DATA holds `train/CLASS/*.jpg` and, if you like, `val/CLASS/*.jpg`. WEIGHTS names pretrained
# weights to start from; empty, the network learns from scratch.

# %%
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "cli.py").is_file())
sys.path.insert(0, str(ROOT))  # where this project is
import apps
from apps.engine.core.console import Console
from apps.engine.training.finetune import finetune

DATA = Path(os.environ.get("DATA", "photos"))
IMAGE = os.environ.get("IMAGE", "dog.jpg")
OUT = Path(os.environ.get("OUT", "runs/notebook"))
WEIGHTS = os.environ.get("WEIGHTS", "mobilenetv1_1.0_224")

# %%
options = {"weights": WEIGHTS, "freeze": True} if WEIGHTS else {"resolution": 96, "epochs": 5}
finetune("dogs", {"data": DATA, **options}, out=OUT, console=Console())  # open OUT/report.html

# %%
print(apps.load(OUT).predict(IMAGE)[0])
