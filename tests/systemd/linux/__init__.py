"""What unitq asks the kernel, against what systemd does."""
