"""Cells of the earth: Google's S2, PlaNet's adaptive partition, its files."""
