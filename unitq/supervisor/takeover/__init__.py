"""Moves running programs from supervisord to units, so that no job is lost."""
