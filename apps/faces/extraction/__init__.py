"""Images to a table of faces: found, aligned, embedded, written in parts."""
