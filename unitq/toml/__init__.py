"""TOML that people write: plain data, checked value by value, with messages that name the line."""
