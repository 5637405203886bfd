"""Several heads answer in one pass of their backbone: python examples/three_heads.py IMAGE RUN RUN..."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from apps.joint.multi_head import predict_heads

if len(sys.argv) < 3:
    sys.exit(__doc__)
image, *runs = map(Path, sys.argv[1:])
try:
    for line in predict_heads([image], runs):  # runs of one backbone: trained by `joint`, or with --freeze
        for name, answer in line.get("answers", line).items():
            print(name, answer, sep="\t")
except (OSError, ValueError) as err:
    sys.exit(f"error: {err}")
