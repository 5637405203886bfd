"""A training: set up, its loop, its state, its end."""
