"""Environment files as systemd reads them (systemd.exec(5), EnvironmentFile=)."""

from __future__ import annotations

# systemd.exec(5), EnvironmentFile=: what a backslash may quote inside double quotes.
_QUOTED = str.maketrans({character: f"\\{character}" for character in '\\"$`'})


def environment_file(environment: tuple[tuple[str, str], ...]) -> str:
    """The text of an EnvironmentFile= that gives exactly these values."""
    return "".join(f'{name}="{value.translate(_QUOTED)}"\n' for name, value in environment)


def file_names(count: int) -> tuple[str, ...]:
    """What a revision calls its copies of the user's environment files."""
    return tuple(f"env.{number}" for number in range(1, count + 1))
