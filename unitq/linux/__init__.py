"""The kernel, as files and system calls: paths, processes, signals."""
