"""Processes that work for an app and are in none of its units: found, explained, drained."""
