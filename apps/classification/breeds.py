"""Which of ImageNet's 1000 classes are breeds of dogs, and when an image shows none of them."""

from __future__ import annotations

# Stanford's 120 breeds: all of ImageNet's dogs but 251, the dalmatian, and the three wild ones of 273 to 275.
BREEDS = (*range(151, 251), *range(252, 269), *range(273, 276))
# Of the probability that the breeds have: 5 % of images of dogs at most have less (docs/dogs.md).
LEAST_SHARE = {"mobilenetv1_1.0_224": 0.7, "mobilenetv1_0.5_160": 0.5}
LEAST_SHARE_OTHERS = 0.2  # of weights that were not measured, and of mobilenetv1_0.25_128


def least_share(weights: str) -> float:
    """What the breeds must have of the probability on an image of a dog, by the name of the weights."""
    return LEAST_SHARE.get(weights, LEAST_SHARE_OTHERS)
