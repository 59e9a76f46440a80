"""The kernel, as files and system calls: processes, cgroups, paths, signals."""
