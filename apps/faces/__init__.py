"""Faces: found, aligned, turned into unit vectors; verified, searched, clustered, evaluated."""

NO_FACE = "no face found"  # what is said of an image without one
