"""Leaving Supervisor, or units written by hand: what ran there, as unitq runs it."""
