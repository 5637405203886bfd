"""Frames the objects on an image: python examples/detect_and_draw.py MODEL IMAGE OUT"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from PIL import ImageDraw

import apps
from datasets.image_io import read_image

if len(sys.argv) != 4:
    sys.exit(__doc__)
source, path, out = sys.argv[1:]
try:
    image = read_image(path)  # upright and in RGB
    (answer,) = apps.load(source, app="objects").predict(image)
    assert isinstance(answer, apps.ObjectsPrediction), "give a model of objects"
    pen = ImageDraw.Draw(image)
    for item in answer.objects:
        pen.rectangle(item.box, outline="red", width=3)
        label = f"{item.name} {item.score:.2f}"
        pen.text(item.box[:2], label, fill="white", stroke_width=2, stroke_fill="black")
    image.save(out)
except (OSError, ValueError) as err:
    sys.exit(f"error: {err}")
print(f"{len(answer.objects)} objects, drawn into {out}")
