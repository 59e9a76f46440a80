"""`unitq releases`."""
