"""The file of a preset: TOML text in, a `Preset` out, or a ConfigError with every mistake in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.model.app import NAME_RE
from unitq.model.suggest import either
from unitq.presets.model import File, Part, Preset
from unitq.toml import document
from unitq.toml.messages import validate
from unitq.toml.values import Clash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.toml.values import Path


def parse(text: str, *, name: str, source: str) -> Preset:
    """The preset that the text describes. `source` is what messages call the file."""
    if not NAME_RE.fullmatch(name):
        what = 'letters, digits, "-" and "_", first a letter or digit'
        raise document.refusal(source, [f"not a name for a preset: {what}"])
    data, order, unsafe = document.read(text, source)
    file, problems = validate(File, data, clashes)
    # The keys of Redis may hold any character: they reach no unit.
    problems |= {path: problem for path, problem in unsafe.items() if path[:1] != ("redis",)}
    if file is None or problems:
        raise document.refusal(source, document.lines(problems, order))
    return Preset.model_construct(name=name, **dict(file))


def clashes(file: File) -> Iterator[Clash]:
    """What only several keys together can get wrong."""
    for place, part in _parts(file):
        for key, why, *others in part.clashes():
            yield Clash((*place, key), why, tuple((*place, other) for other in (key, *others)))
    explained = {name for name, _ in file.signals}
    for key, named in (("loses", file.stop.loses), ("again", file.stop.again)):
        if unsaid := sorted({*named} - explained):
            why = f"[signals] has to say what {either(unsaid, last='and')} does"
            yield Clash(("stop", key), why, (("signals",),))
    for at, why in file.redis.clashes() if file.redis else ():
        yield Clash(("redis", *at), why, (("redis", *at),))


def _parts(file: File) -> Iterator[tuple[Path, Part]]:
    for key, value in file:
        if isinstance(value, Part):
            yield (key,), value
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Part):
                    yield (key, index), item
