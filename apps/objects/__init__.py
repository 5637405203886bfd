"""The application ``objects``: what is where on a photo."""
