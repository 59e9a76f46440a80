"""Revisions: what a deploy installed, where it is kept, and which code that is."""
