"""How a process or a unit ended, as systemd says it, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """How an old process ended."""

    DRAINED = "drained"  # exited by itself after the stop signal
    KILLED = "killed"  # SIGKILL, at stop_timeout or by somebody else
    DIED = "died"  # of the stop signal itself, or with an error: its job may be lost
    UNKNOWN = "unknown"  # nobody saw it


# systemd.exec(5), "Process exit codes": what went wrong before the worker's own code ran.
_SETUP = {
    200: ("CHDIR", "the working directory cannot be entered"),
    201: ("NICE", "the nice level cannot be set"),
    202: ("FDS", "file descriptors cannot be passed on"),
    203: ("EXEC", "the command cannot be executed"),
    204: ("MEMORY", "there was no memory to start it"),
    205: ("LIMITS", "a resource limit cannot be set"),
    206: ("OOM_ADJUST", "OOMScoreAdjust= cannot be set"),
    207: ("SIGNAL_MASK", "the signal mask cannot be set"),
    208: ("STDIN", "the standard input cannot be opened"),
    209: ("STDOUT", "the standard output cannot be opened"),
    210: ("CHROOT", "the root directory cannot be changed"),
    211: ("IOPRIO", "the I/O priority cannot be set"),
    212: ("TIMERSLACK", "TimerSlackNSec= cannot be set"),
    213: ("SECUREBITS", "SecureBits= cannot be set"),
    214: ("SETSCHEDULER", "the CPU scheduling cannot be set"),
    215: ("CPUAFFINITY", "the CPU affinity cannot be set"),
    216: ("GROUP", "the group does not exist, or cannot be changed to"),
    217: ("USER", "the user does not exist, or cannot be changed to"),
    218: ("CAPABILITIES", "capabilities cannot be dropped"),
    219: ("CGROUP", "the cgroup cannot be set up"),
    220: ("SETSID", "no session can be created"),
    221: ("CONFIRM", "its start was refused on the console"),
    222: ("STDERR", "the standard error cannot be opened"),
    224: ("PAM", "the PAM session cannot be opened"),
    225: ("NETWORK", "the network namespace cannot be set up"),
    226: ("NAMESPACE", "the mount namespace cannot be set up"),
    227: ("NO_NEW_PRIVILEGES", "NoNewPrivileges= cannot be set"),
    228: ("SECCOMP", "the filter of system calls cannot be set up"),
    229: ("SELINUX_CONTEXT", "the SELinux context cannot be set"),
    230: ("PERSONALITY", "the personality cannot be set"),
    231: ("APPARMOR_PROFILE", "the AppArmor profile cannot be set"),
    232: ("ADDRESS_FAMILIES", "RestrictAddressFamilies= cannot be set"),
    233: ("RUNTIME_DIRECTORY", "the runtime directory cannot be set up"),
    235: ("CHOWN", "the owner of a file cannot be changed"),
    236: ("SMACK_PROCESS_LABEL", "the SMACK label cannot be set"),
    237: ("KEYRING", "the kernel keyring cannot be set up"),
    238: ("STATE_DIRECTORY", "the state directory cannot be set up"),
    239: ("CACHE_DIRECTORY", "the cache directory cannot be set up"),
    240: ("LOGS_DIRECTORY", "the logs directory cannot be set up"),
    241: ("CONFIGURATION_DIRECTORY", "the configuration directory cannot be set up"),
    242: ("NUMA_POLICY", "the NUMA policy cannot be set"),
    243: ("CREDENTIALS", "the credentials cannot be set up"),
    245: ("BPF", "BPF restrictions cannot be set"),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How the old process of an instance ended, in words too."""

    end: End
    detail: str = ""


AT_STOP_TIMEOUT = "SIGKILL at stop_timeout"


RESULTS = {
    "start-limit-hit": "it crashed too often in too short a time (start-limit-hit)",
    "oom-kill": "it ran out of memory (oom-kill)",
    "timeout": "systemd gave up on it (timeout)",
}


def result(name: str) -> str:
    """What a unit's `Result` other than `success` says (systemd.service(5)), in words."""
    return RESULTS.get(name, f"systemd says: {name}")


def exit_status(status: int) -> str:
    """How a process with this exit status ended; systemd's own statuses in words."""
    if status in _SETUP:
        name, words = _SETUP[status]
        return f"{words} ({status}/{name})"
    return f"exited with status {status}"
