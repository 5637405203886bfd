"""TensorFlow.js models: manifest and shards, and the networks in them."""
