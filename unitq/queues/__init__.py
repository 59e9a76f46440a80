"""Redis, and what queue frameworks keep there."""
