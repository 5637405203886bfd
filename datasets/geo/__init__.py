"""Images with positions."""
