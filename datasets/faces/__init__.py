"""Faces: people, pairs, attributes."""
