"""Learns the classes of your folders: python examples/train_own_classes.py DATA IMAGE OUT

DATA holds train/CLASS/*.jpg and, if you like, val/CLASS/*.jpg. IMAGE is tried at the end.
The variable WEIGHTS names pretrained weights to start from.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import apps
from apps.engine.core.console import Console
from apps.engine.training.finetune import finetune

if len(sys.argv) != 4:
    sys.exit(__doc__)
data, image, out = sys.argv[1:]
weights = os.environ.get("WEIGHTS")
options = {"weights": weights, "freeze": True} if weights else {"resolution": 96, "epochs": 5}
try:
    print(finetune("dogs", {"data": Path(data), **options}, out=Path(out), console=Console()))
    print(apps.load(out).predict(image)[0])
except (OSError, ValueError) as err:
    sys.exit(f"error: {err}")
