"""Readers of files that others wrote, fed with damaged ones; `make fuzz` runs it."""
