"""A frozen backbone: features computed once, and heads fitted to them."""
