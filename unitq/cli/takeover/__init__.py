"""`unitq takeover`."""
