"""Maps and names of places without a network."""
