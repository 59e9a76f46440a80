"""What unitq knows of each queue framework: read from TOML, checked, recognised."""

NONE = "none"  # the preset that says: no framework, all as without one
