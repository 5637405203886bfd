"""Images to batches: transforms, the loader, its cache."""
