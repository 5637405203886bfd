"""The built-in sample, drawn by code."""
