"""Supervisor's configuration, read as supervisord reads it."""
