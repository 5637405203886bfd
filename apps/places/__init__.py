"""Places: cells of the earth, where images were taken, and what an answer is worth."""

SEQUENCE = "sequence.safetensors"  # in a run that learned from albums, the network of those
