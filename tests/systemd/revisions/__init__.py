"""Attacks by accounts that are not root, on a real systemd."""
