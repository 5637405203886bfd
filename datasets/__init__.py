"""Datasets: one file for each layout on disk; import from the file, so that only what is used is loaded."""
