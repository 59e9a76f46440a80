"""`unitq orphans`."""
