"""Puts the faces of an album into groups, one a person: python examples/sort_faces.py WEIGHTS FOLDER OUT"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from apps.engine.core.console import Console
from apps.faces.extraction.embed_faces import Order, embed_faces
from apps.faces.extraction.loading import load_face_model
from apps.faces.people.contact_sheet import cluster_faces

if len(sys.argv) != 4:
    sys.exit(__doc__)
weights, folder, out = sys.argv[1:]
table, console = Path(out) / "faces.parquet", Console()
try:
    model = load_face_model(weights=weights)
    Path(out).mkdir(parents=True, exist_ok=True)
    print(embed_faces([folder], Order(out=table), model, console))
    print(cluster_faces(table, Path(out) / "people", threshold=0.5, console=console))
except (OSError, ValueError) as err:
    sys.exit(f"error: {err}")
print(f"open {out}/people/index.html")
