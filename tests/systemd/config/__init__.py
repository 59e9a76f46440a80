"""What `check` says, against what systemd does."""
