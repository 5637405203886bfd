"""What stands in an exported graph: backbone, heads and their decoding."""
