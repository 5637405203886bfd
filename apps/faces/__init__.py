"""Faces: found, aligned, turned into unit vectors; verified, searched, clustered, judged."""
