"""The application ``objects``: what is where on an image."""
