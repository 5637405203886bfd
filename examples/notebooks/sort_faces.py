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
# # The people of an album
# Faces become vectors in a table; those of one person lie near each other.
# Read docs/responsible-use.md first.

# %%
import os
import sys
from pathlib import Path

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "cli.py").is_file())
sys.path.insert(0, str(ROOT))  # where this project is
from apps.engine.core.console import Console
from apps.faces.extraction.embed_faces import Order, embed_faces
from apps.faces.extraction.loading import load_face_model
from apps.faces.people.contact_sheet import cluster_faces

WEIGHTS = os.environ.get("WEIGHTS", "faces_mobilenetv1_1.0_224")
ALBUM = os.environ.get("ALBUM", "album")
OUT = Path(os.environ.get("OUT", "sorted"))
ALIGN = os.environ.get("ALIGN", "five-point")  # or none, for photos that are face crops

# %%
OUT.mkdir(parents=True, exist_ok=True)
table, console = OUT / "faces.parquet", Console()
embed_faces([ALBUM], Order(out=table, align=ALIGN), load_face_model(weights=WEIGHTS), console)

# %%
cluster_faces(table, OUT / "people", threshold=0.5, console=console)  # open OUT/people/index.html
