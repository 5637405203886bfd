"""Weights that others published, read into this project's own file: TFLite, Keras, timm, PyTorch."""
