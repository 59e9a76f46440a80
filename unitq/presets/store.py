"""The presets: ours, and an operator's own in the `presets` folder of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitq import shipped
from unitq.errors import ConfigError, UnitqError
from unitq.linux import obeyed, text_file
from unitq.presets.file import parse
from unitq.presets.model import NONE

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from unitq.presets.model import Preset

_FILE_MAX = 1 << 20  # bytes


class Presets(dict[str, "Preset"]):
    """The presets by their names. Whoever asks for one whose file is wrong is told what is wrong.

    Another team's mistake is in nobody else's way: the others are there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[str, UnitqError] = {}  # by the name that it would have

    def get(self, name: str, default: Any = None) -> Any:
        """The preset of that name. Raises ConfigError where its file is wrong."""
        return super().get(name, default) if name in self else default

    def __contains__(self, name: object) -> bool:
        if name in self.broken:
            raise self.broken[str(name)]
        return super().__contains__(name)


def load(config_dir: PurePosixPath) -> Presets:
    """Every preset by its name; an operator's own come first and win, `none` is the last."""
    found = Presets()
    for folder in (Path(config_dir) / "presets", ours()):
        for path in _files(folder):
            if path.stem in found.keys() | found.broken.keys():
                continue
            try:
                found[path.stem] = parse(_text(path), name=path.stem, source=str(path))
            except UnitqError as error:
                found.broken[path.stem] = error
    if NONE in found:
        found[NONE] = found.pop(NONE)
    return found


def names(config_dir: PurePosixPath) -> set[str]:
    """The names of all, an operator's own among them."""
    return own(config_dir) | {path.stem for path in _files(ours())}


def own(config_dir: PurePosixPath) -> set[str]:
    """The names of those that are an operator's own."""
    return {path.stem for path in _files(Path(config_dir) / "presets")}


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error


def _text(path: Path) -> str:
    # Who can change ours can change unitq.
    read = text_file.text if path.parent == ours() else obeyed.text
    try:
        return read(path, _FILE_MAX, "preset")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def ours() -> Path:
    """The folder of those that come with unitq."""
    return shipped.folder("presets")
