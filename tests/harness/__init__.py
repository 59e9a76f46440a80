"""What the tests and the demo measure with. Nothing here imports unitq: its word is no evidence."""
