"""One label an image: folders, ImageNet, Stanford Dogs."""
