"""`unitq status`."""
