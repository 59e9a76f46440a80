"""systemd: its manager over D-Bus, its journal, its file formats."""
