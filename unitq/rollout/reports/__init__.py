"""What became of a rollout: observed, in words, as JSON and on disk."""
