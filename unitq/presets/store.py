"""The presets: ours, and an operator's own in the `presets` folder of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unitq import shipped
from unitq.errors import ConfigError, UnitqError
from unitq.linux import text_file
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from unitq.presets.model import Preset

_FILE_MAX = 1 << 20  # bytes


class Presets(Mapping[str, "Preset"]):
    """The presets by their names, each read when it is asked for: a file takes 3 ms.

    Whoever asks for one whose file is wrong is told what is wrong, by a UnitqError. Another team's
    mistake is in nobody else's way: the others are there.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._read: dict[str, Preset | UnitqError] = {}

    def __getitem__(self, name: str) -> Preset:
        preset = self._of(name)
        if isinstance(preset, UnitqError):
            raise preset
        return preset

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._files if not isinstance(self._of(name), UnitqError))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def broken(self) -> dict[str, UnitqError]:
        """What is wrong with an operator's own, by the names that they would have."""
        own = [name for name, path in self._files.items() if path.parent != ours()]
        return {name: error for name in own if isinstance(error := self._of(name), UnitqError)}

    def _of(self, name: str) -> Preset | UnitqError:
        if name not in self._read:
            from unitq.presets.file import parse  # pydantic: 80 ms

            path = self._files[name]
            try:
                self._read[name] = parse(_text(path), name=name, source=str(path))
            except UnitqError as error:
                self._read[name] = error
        return self._read[name]


def load(config_dir: PurePosixPath) -> Presets:
    """Every preset by its name; an operator's own come first and win, `none` is the last."""
    files: dict[str, Path] = {}
    for folder in (Path(config_dir) / "presets", ours()):
        for path in _files(folder):
            files.setdefault(path.stem, path)
    if NONE in files:
        files[NONE] = files.pop(NONE)
    return Presets(files)


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
    read = text_file.text if path.parent == ours() else text_file.trusted_text
    try:
        return read(path, _FILE_MAX, "preset")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def ours() -> Path:
    """The folder of those that come with unitq."""
    return shipped.folder("presets")
