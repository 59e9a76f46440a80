"""The [redis] section of presets: ours, and an operator's own in the `presets` folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import unitq
from unitq.core import keys
from unitq.core.errors import ConfigError
from unitq.core.values import MistakeError, MistakesError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from unitq.core.keys import Keys


def layout(name: str, config_dir: PurePosixPath) -> Keys:
    """Where the preset of that name keeps its queues. Raises ConfigError with all its mistakes."""
    path = Path(config_dir) / "presets" / f"{name}.toml"
    if not path.exists():
        path = _ours() / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("redis")
    except FileNotFoundError:
        raise ConfigError(
            f"redis.preset: there is no preset {name}",
            hint=f"one of {', '.join(names(config_dir))}; or {config_dir}/presets/{name}.toml",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"preset {path}: {error}") from None
    if table is None:
        raise ConfigError(f"preset {path}: it has no [redis], so its queues cannot be read")
    try:
        return keys.parse(table)
    except MistakesError as mistakes:
        raise _wrong(path, mistakes.every) from None
    except MistakeError as mistake:
        raise _wrong(path, [mistake]) from None


def names(config_dir: PurePosixPath) -> list[str]:
    """All presets that there are."""
    folders = (Path(config_dir) / "presets", _ours())
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def _wrong(path: Path, every: list[MistakeError]) -> ConfigError:
    from unitq.core.mistakes import place

    problems = tuple(f"{place(('redis', *mistake.at))}: {mistake}" for mistake in every)
    count = "1 mistake" if len(every) == 1 else f"{len(every)} mistakes"
    return ConfigError(f"preset {path}: {count}", problems=problems)


def _ours() -> Path:
    # In the wheel the presets are inside the package, in a checkout they are beside it.
    package = Path(unitq.__file__).parent
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"
