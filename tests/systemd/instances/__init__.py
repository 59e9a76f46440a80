"""What runs, and what it prints."""
