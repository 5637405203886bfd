"""Attributes of faces: a small student that emulates a large teacher."""
