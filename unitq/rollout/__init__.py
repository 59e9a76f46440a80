"""Taking an app from one revision to another."""
