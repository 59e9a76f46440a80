"""`unitq queues`."""
