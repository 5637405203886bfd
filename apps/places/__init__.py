"""Places: cells of the earth, where photos were taken, and what an answer is worth."""
