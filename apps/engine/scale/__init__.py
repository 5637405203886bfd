"""Answers for many images: shards of the input to parts of the output, here or on a cluster."""
