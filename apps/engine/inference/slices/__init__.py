"""Small objects on large photos: overlapping tiles beside the whole photo, and one answer of all of them."""
