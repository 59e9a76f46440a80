"""What runs now, and what its instances go through."""
