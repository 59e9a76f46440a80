"""Supervisor's names, states and words for what unitq runs."""
