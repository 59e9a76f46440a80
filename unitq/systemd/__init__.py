"""systemd's own programs, asked."""
