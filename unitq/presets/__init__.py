"""Reads what unitq knows of each queue framework: the facts are presets/NAME.toml at the top."""

NONE = "none"  # the preset that says: no framework, all as without one
