"""Revisions: what a deploy installed, and which code that is."""
