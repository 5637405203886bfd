"""Puts the faces of an album into groups, one a person: python examples/sort_faces.py WEIGHTS FOLDER OUT"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from apps.engine.core.console import Console
from apps.faces.extraction.embed_faces import Order, embed_faces
from apps.faces.extraction.loading import load_face_model
from apps.faces.people.contact_sheet import cluster_faces

weights, folder, out = sys.argv[1:]
Path(out).mkdir(parents=True, exist_ok=True)
table, console = Path(out) / "faces.parquet", Console()
print(embed_faces([folder], Order(out=table), load_face_model(weights=weights), console))
print(cluster_faces(table, Path(out) / "people", threshold=0.5, console=console))
print(f"open {out}/people/index.html")
