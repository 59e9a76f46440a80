"""Redis, and what queue frameworks keep there. The only room that knows either. Reads only."""
