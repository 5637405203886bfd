"""Models as files that run without torch: written here, read here, shown in a browser."""
