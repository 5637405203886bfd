"""Documents beside photos that other programs read and write, too."""
