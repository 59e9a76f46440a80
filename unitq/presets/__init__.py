"""What unitq knows of each queue framework: read from TOML, checked, recognised."""
