"""One label an image: what dogs and imagenet share."""
