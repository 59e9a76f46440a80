"""What runs now: instances as systemd, /proc and cgroups show them."""
