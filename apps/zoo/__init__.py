"""Published weights and data sets: fetched, verified, imported."""
