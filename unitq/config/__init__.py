"""unitq.toml: whose file it is, what it says, and what is doubtful in it."""
