"""Units, as systemd puts them together."""
