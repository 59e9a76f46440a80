"""What a command line runs: wrappers and shells around a worker. Pure."""
