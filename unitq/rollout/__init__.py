"""Rollouts: what one is about to do, does, and has done."""
