"""Layers for training on processors, with a backward of their own."""
