"""What the engine stands on: contracts, settings, run folders, files, the console, the machine."""
