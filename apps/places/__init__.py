"""Places: cells of the earth, where images were taken, and what an answer is worth."""
