"""Import: from a configuration that is there to a unitq.toml."""
