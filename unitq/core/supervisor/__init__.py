"""Supervisor's configuration: read as Supervisor reads it, and said in unitq's terms. Pure."""
