"""This machine: one outside thing per file."""
