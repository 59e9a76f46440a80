"""What was deployed: the history, one revision, how two differ, which releases are needed."""
