"""What a unit contains."""
