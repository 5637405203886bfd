"""What networks cost, beside the tables of the paper."""
