"""Several heads on one backbone: taught together, and asked together."""
