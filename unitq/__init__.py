"""unitq: systemd units for queue workers, and deploys that lose no job."""

__version__ = "0.1.0.dev0"
