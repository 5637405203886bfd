"""Measurements that make pages of docs/: run one by its name, or all, with ``python -m benchmarks``."""
