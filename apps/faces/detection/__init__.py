"""Where the faces of an image are, with five landmarks each."""
