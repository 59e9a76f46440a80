"""What is wrong with a file, in plain words: one line for each place."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from unitq.model.suggest import either, nearest
from unitq.toml.document import describe, toml
from unitq.toml.types import FORMS, Kind, Table
from unitq.toml.values import Clash, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unitq.toml.values import Path

M = TypeVar("M", bound=BaseModel)
WORDS_MAX = 200  # mistakes that are put into words at all: looking for near words takes time


class Words(NamedTuple):
    """What a file says of its unknown keys."""

    unknown: Callable[[Path, type[BaseModel] | None], str]
    meant: Callable[[Path, type[BaseModel] | None], str | None]  # a known key, mistyped


def validate(
    model: type[M],
    data: dict[str, Any],
    clashes: Callable[[M], Iterable[Clash]],
    words: Words | None = None,
) -> tuple[M | None, dict[Path, str]]:
    """The data as the model has it, None if it is wrong; and all that is wrong, by its place.

    pydantic's own model validators are silent while any value of the table is wrong. `clashes` is
    asked all the same, of what is right: the rest is left out, or replaced by an example.
    """
    words = words or Words(_unknown, meant_key)
    try:
        made = model.model_validate(data)
    except ValidationError as error:
        errors = [_with_place(item) for item in error.errors(include_url=False)[:WORDS_MAX]]
        wrong = {item["loc"] for item in errors}
        unknown = [item["loc"] for item in errors if item["type"] == "extra_forbidden"]
        mistyped = {
            (*path[:-1], near)
            for path in unknown
            if (near := words.meant(path, table(model, path)))
        }
        problems: dict[Path, str] = {}
        for item in errors:
            if item["type"] != "missing" or item["loc"] not in mistyped:
                for path, problem in _problems(item, model, words):
                    problems.setdefault(path, problem)
        rest = _right(model, data, wrong)
        if rest is not None:
            wrong |= mistyped
            inside = {path[:end] for path in wrong for end in range(len(path) + 1)}
            for clash in clashes(rest):
                above = {clash.at[:end] for end in range(len(clash.at) + 1)}
                if not inside & set(clash.needs) and not wrong & above:
                    problems.setdefault(clash.at, clash.why)
        return None, problems
    problems = {}
    for clash in clashes(made):
        problems.setdefault(clash.at, clash.why)
    return (None if problems else made), problems


def _right(model: type[M], data: dict[str, Any], wrong: set[Path]) -> M | None:
    """What is right of it; what is wrong and must be there is an example. None: nothing is."""
    data = deepcopy(data)
    for path in sorted(wrong, key=len, reverse=True):
        _cut(data, path)
        key, below = path[-1], table(model, path)
        field = below.model_fields.get(str(key)) if below else None
        if field is not None and field.is_required() and isinstance(there := _at(data, path), dict):
            there[key] = (field.examples or [None])[0]
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _at(data: Any, path: Path) -> Any:
    """The table or list that holds what stands at this place."""
    for key in path[:-1]:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _cut(data: dict[str, Any], path: Path) -> None:
    """Takes the key away that this place is in."""
    while path:
        above = _at(data, path)
        if isinstance(above, dict) and path[-1] in above:
            del above[path[-1]]
            return
        if isinstance(above, dict) and not isinstance(path[-1], int):
            return  # missing, or gone already
        path = path[:-1]


def _with_place(item: Any) -> Any:
    """The same with the place in the file alone."""
    path = tuple(part for part in item["loc"] if part not in FORMS)
    if path[-1:] == ("[key]",) and path[-2:-1] == (item["input"],):
        path = path[:-1]  # what pydantic says of a key
    return item | {"loc": path}


def _problems(item: Any, model: type[BaseModel], words: Words) -> Iterator[tuple[Path, str]]:
    path: Path = item["loc"]
    cause = item.get("ctx", {}).get("error")
    match item["type"]:
        case "extra_forbidden":
            yield path, words.unknown(path, table(model, path))
        case "too_short" if isinstance(item["input"], list):
            pass  # its items are wrong, and that is said already
        case "missing" | "too_short":
            yield path, _missing(path, table(model, path), item["type"])
        case "value_error" if isinstance(cause, InvalidValueError):
            for invalid in cause.all:
                yield _in_words(invalid, path, item["input"])
        case "enum":
            choice = re.findall("'([^']+)'", item["ctx"]["expected"])
            expected = either([f'"{word}"' for word in choice])
            yield _in_words(InvalidValueError(expected, words=choice), path, item["input"])
        case "tuple_type":
            got = describe(item["input"], secret=True)
            yield path, f"expected tables such as [[{path[-1]}]], got {got}"
        case "too_long":
            yield path, f"more than {item['ctx']['max_length']} of them"
        case "default_factory_not_called":
            pass  # what it follows from is wrong, and that is said already
        case _:
            yield path, f"expected a table, got {describe(item['input'], secret=True)}"


def _missing(path: Path, there: type[BaseModel] | None, how: str) -> str:
    key = str(path[-1])
    field = there.model_fields.get(key) if there else None
    if field is None:
        return "missing"
    if get_origin(field.annotation) is dict:
        return f"{'empty' if how == 'too_short' else how}; at least one [{key}.NAME] is needed"
    return f"missing, for example {key} = {toml((field.examples or ['…'])[0])}"


def table(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the table that has the key at this place; None where any key may stand."""
    kind: Any = model
    for part in path[:-1]:
        if _is_table(kind):
            field = kind.model_fields.get(str(part))
            kind = Annotated[field.annotation, *field.metadata, None] if field else None
        else:
            kind = next((item for item in get_args(kind)[::-1] if item is not Ellipsis), None)
        kind = _container(kind)
    return kind if _is_table(kind) else None


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _container(kind: Any) -> Any:
    """What holds others among the forms that a value may have: a table, or a list or dict."""
    if _is_table(kind) or get_origin(kind) in (dict, tuple):
        return kind
    shapes = [item.shape for item in getattr(kind, "__metadata__", ()) if isinstance(item, Kind)]
    containers = [
        _container(part) for part in (*shapes, *get_args(kind)) if not isinstance(part, Kind)
    ]
    return next((item for form in (_is_table, get_args) for item in containers if form(item)), None)


def meant_key(path: Path, there: type[BaseModel] | None) -> str | None:
    """The key that somebody meant who wrote this one."""
    return nearest(str(path[-1]), there.model_fields) if there else None


def _unknown(path: Path, there: type[BaseModel] | None) -> str:
    if near := meant_key(path, there):
        return f'unknown key, did you mean "{near}"?'
    keys = list(there.model_fields) if there else []
    return f"unknown key; the keys here are {either(keys, last='and')}"


def confidential(path: Path) -> bool:
    """Whether what stands there may be nobody's business."""
    return (
        path[:1] == ("redis",)
        or "environment" in path
        # A token in an argument, say.
        or (path[:1] == ("hooks",) and path[-1] not in ("timeout", "user"))
    )


def _in_words(invalid: InvalidValueError, path: Path, value: Any) -> tuple[Path, str]:
    """The place below `path` and the words for it; `value` is what stands at `path`."""
    path = (*path, *invalid.at)
    if invalid.why:
        return path, invalid.why
    for key in invalid.at:
        value = value[key]
    word = nearest(value, invalid.words) if isinstance(value, str) else None
    near = f', did you mean "{word}"?' if word else ""
    got = describe(value, secret=confidential(path))
    return path, f"expected {invalid.expected}, got {got}{near}"


def refusal(kind: Any, value: object) -> str:
    """Why this value may not stand in a file; "" if it may."""
    try:
        TypeAdapter(kind, config=Table.model_config).validate_python(value)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            cause = item.get("ctx", {}).get("error")
            return str(cause)
    return ""
