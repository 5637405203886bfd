"""What looks wrong with a data set: counted, shown and, where it is clear, mended."""
