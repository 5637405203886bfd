"""What TensorFlow states of the accuracy of its MobileNetV1 weights; never measured here."""

from __future__ import annotations

HOSTED = "TensorFlow's hosted_models.md, of its quantised file"
SLIM = "TF-slim's mobilenet_v1.md, of its checkpoint"
RESOLUTIONS = (224, 192, 160, 128)

# (top-1, top-5) on ImageNet's validation images as TensorFlow states them, percent: width -> by resolution.
SLIM_FLOAT = {
    "1.0": ((70.9, 89.9), (70.0, 89.2), (68.0, 87.7), (65.2, 85.8)),
    "0.75": ((68.4, 88.2), (67.2, 87.3), (65.3, 86.0), (62.1, 83.9)),
    "0.5": ((63.3, 84.9), (61.7, 83.6), (59.1, 81.9), (56.3, 79.4)),
    "0.25": ((49.8, 74.2), (47.7, 72.3), (45.5, 70.3), (41.5, 66.3)),
}
HOSTED_UINT8 = {
    "1.0": ((70.0, 89.0), (69.1, 88.1), (66.9, 86.7), (63.3, 84.1)),
    "0.75": ((66.9, 86.9), (66.1, 86.2), (62.4, 83.7), (55.9, 79.1)),
    "0.5": ((61.2, 83.2), (59.9, 82.1), (57.2, 80.5), (54.9, 78.1)),
    "0.25": ((48.2, 72.8), (45.7, 70.8), (42.8, 68.1), (39.5, 64.4)),
}
