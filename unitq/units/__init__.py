"""What a unit contains: rendering, reading back, files in systemd's folder."""
