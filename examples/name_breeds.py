"""Names what is on images: python examples/name_breeds.py MODEL IMAGE..."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import apps

if len(sys.argv) < 3:
    sys.exit(__doc__)
try:
    model = apps.load(sys.argv[1])  # a run's folder, a file made by export, or the name of weights
    for image, answer in model.stream(sys.argv[2:], top=3):
        if isinstance(answer, apps.ClassPrediction):
            best = ", ".join(f"{c.name} {c.probability:.0%}" for c in answer.classes)
            print(image, best, "(nothing it knows)" if answer.unknown else "", sep="\t")
        else:
            print(image, answer.to_dict(), sep="\t")
except (OSError, ValueError) as err:
    sys.exit(f"error: {err}")
