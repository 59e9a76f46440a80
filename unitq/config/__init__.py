"""unitq.toml: whose file it is, and what it says."""
