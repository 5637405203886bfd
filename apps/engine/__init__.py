"""The engine that every application's training shares: plain functions, no trainer object."""
