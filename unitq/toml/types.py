"""What makes a kind of value: pydantic's types and constraints, and the words for who missed them.

    Nice = Annotated[int, whole(-20, 19)]
    Umask = Annotated[str, Kind('an octal number such as "0022"', "[0-7]{4}", words="octal number")]

A kind's `shape` is what the file has: pydantic checks it, and makes the JSON Schema of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import core_schema

from unitq.model import duration
from unitq.model.app import NAME, KillMode
from unitq.model.settings import Duration
from unitq.toml import values
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from enum import StrEnum

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

T = TypeVar("T")


class Table(BaseModel):
    """A table of the file: no other keys, nothing converted, nothing changed later."""

    # Built once, as part of the file's: each table on its own would double the time.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def key(description: str, *examples: Any, default: Any = None) -> Any:
    """A key of a table that may be left out."""
    return Field(default=default, description=description, examples=list(examples) or None)


def required(description: str, *examples: Any, **constraints: Any) -> Any:
    """A key that has to be there."""
    return Field(description=description, examples=list(examples), **constraints)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a type is called, and what is expected where something else stands."""

    expected: str
    shape: Any = None  # the file's type if it is not the app's own; a text is all of a string
    then: Callable[[Any], Any] | None = None  # makes the app's; a ValueError is not as expected
    words: str = ""  # in the reference
    near: Sequence[str] = ()  # all that may stand there, if that is a closed set

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        shape = all_of(self.shape) if isinstance(self.shape, str) else self.shape
        inner = handler(source) if shape is None else handler.generate_schema(shape)
        if self.then:
            inner = core_schema.no_info_after_validator_function(self.then, inner)
        return core_schema.no_info_wrap_validator_function(self._check, inner)

    def _check(self, value: object, check: Callable[[object], object]) -> object:
        try:
            return check(value)
        except ValidationError as error:
            # Several are those of its items.
            if error.error_count() == 1 and _is_silent(error.errors(include_url=False)[0]):
                raise InvalidValueError(self.expected, words=self.near) from None
            raise


def _is_silent(error: Any) -> bool:
    """Whether pydantic's finding is about the value itself, and not in our words."""
    if error["type"] == "value_error":
        return not isinstance(error["ctx"]["error"], InvalidValueError)
    return all(part in FORMS for part in error["loc"]) and error["type"] not in ("enum", "too_long")


class Choice:
    """One word out of a closed set: the enumeration's own."""

    def __get_pydantic_core_schema__(
        self, source: type[StrEnum], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.enum_schema(source, list(source), sub_type="str", strict=False)


class Distinct:
    """No item stands there twice."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(values.distinct, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"uniqueItems": True}


DIRECTIVE = r"[A-Za-z][A-Za-z0-9]*|X-[A-Za-z0-9-]+"
TYPES = ("simple", "exec", "notify", "notify-reload", "idle")  # what a worker may be, as Type=

# The forms that one key may have. No key of a file holds these characters.
FORMS = ("\x00word", "\x00number", "\x00list", "\x00table", "\x00flag")


def _form(value: object) -> str:
    match value:
        case str():
            return FORMS[0]
        case list() | tuple():
            return FORMS[2]
        case dict() | BaseModel():
            return FORMS[3]
        case bool():
            return FORMS[4]
    return FORMS[1]


def forms(
    word: Any = None, number: Any = None, items: Any = None, table: Any = None, flag: Any = None
) -> Any:
    """The shape of what may be a string or something else; each is told its own mistakes alone."""
    shapes = zip((word, number, items, table, flag), FORMS, strict=True)
    tagged = [Annotated[shape, Tag(form)] for shape, form in shapes if shape is not None]
    return Annotated[Union[tuple(tagged)], Discriminator(_form)]  # noqa: UP007


# A list in the file; strict pydantic takes none for a tuple.
Items = Annotated[tuple[T, ...], Strict(False)]
Word = Annotated[T, Choice()]


def all_of(pattern: str, longest: int | None = None) -> Any:
    """The shape of a string that is nothing but this."""
    return Annotated[str, Field(pattern=f"^({pattern})$", max_length=longest)]


SOME = Annotated[str, Field(min_length=1)]


def list_of(item: Kind, expected: str, words: str = "", least: int = 0) -> Kind:
    """A list of them, of which none stands there twice."""
    items = Annotated[tuple[Annotated[str, item], ...], Field(strict=False, min_length=least)]
    return Kind(expected, Annotated[items, Distinct()], words=words)


def whole(low: int, high: int) -> Kind:
    """A whole number within bounds; `true` and 4.0 are none."""
    bounds = f"{low} to {high}"
    shape = Annotated[int, Field(ge=low, le=high)]
    return Kind(f"a whole number from {bounds}", shape, words=bounds)


def at_most(longest: int) -> Callable[[str], str]:
    """Refuses what has more bytes."""

    def check(value: str) -> str:
        if len(value.encode()) > longest:
            raise InvalidValueError(why=f"longer than {longest} bytes")
        return value

    return check


def _span(expected: str, pattern: str, low: int, words: str = "time span") -> Kind:
    def check(value: str | int) -> Duration:
        span = values.span(value)
        if low and not span.seconds:
            raise ValueError(value)
        return span

    word, number = Annotated[str, Field(pattern=pattern)], Annotated[int, Field(ge=low)]
    return Kind(expected, forms(word, number), check, words)


def _refuse_leftovers(mode: object) -> object:
    if mode in ("process", "none"):
        raise InvalidValueError(
            why=f'"{mode}" leaves processes behind that still run the old code; '
            'use "control-group" or "mixed"'
        )
    return mode


def _refuse_to_kill(signal: object) -> object:
    if isinstance(signal, str):
        values.stop_signal(signal)
    return signal


# A look-ahead would say "but not KILL and STOP"; not every editor's regular expressions have it.
_STOPPING = [name for name in values.SIGNALS if name not in ("KILL", "STOP")]


def _signal(example: str, names: Iterable[str]) -> Kind:
    pattern = f"(SIG)?({'|'.join(names)}|{values.REAL_TIME})"
    near = [f"SIG{name}" for name in values.SIGNALS]
    return Kind(f'a signal such as "{example}"', pattern, values.signal, "signal", near)


_NAME = 'a name of letters, digits, "-" and "_", 1 to 63 characters, first a letter or digit'
_PRESET = 'the name of a preset such as "php-resque"'
_FINDING = 'the name that `check` prints in brackets, such as "pipe"'
_ANY_SPAN = f"{duration.EXAMPLE}, longer than zero"
_LONG_SPAN = f"{values.SPAN}, longer than zero"
_VARIABLE = "a string or a whole number; quotes make a string of anything"

Name = Annotated[str, Kind(_NAME, NAME, words="name")]
PresetName = Annotated[str, Kind(_PRESET, NAME, words="name of a preset")]
Command = Annotated[str, Kind(values.COMMAND, SOME, values.command, "command line")]
AnySpan = Annotated[Duration, _span(_ANY_SPAN, duration.PATTERN, 1, 'time span, or `"infinity"`')]
ShortSpan = Annotated[Duration, _span(values.SPAN, duration.FINITE, 0)]
LongSpan = Annotated[Duration, _span(_LONG_SPAN, duration.FINITE, 1)]
AnySignal = Annotated[str, _signal("SIGUSR2", values.SIGNALS)]
StopSignal = Annotated[str, _signal("SIGTERM", _STOPPING), BeforeValidator(_refuse_to_kill)]
KillModeWord = Annotated[KillMode, Choice(), BeforeValidator(_refuse_leftovers)]
Flag = Annotated[bool, Kind("true or false", words="`true` or `false`")]
FINDING = Kind(_FINDING, values.FINDING_NAME)
_VariableName = Annotated[
    str,
    AfterValidator(values.variable),
    WithJsonSchema({"type": "string", "pattern": f"^{values.VARIABLE}$"}),
]
Variables = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        'a table such as { APP_ENV = "production" }',
        dict[_VariableName, Annotated[str, Kind(_VARIABLE, forms(str, int), str)]],
        lambda table: tuple(table.items()),
        "table of strings and whole numbers",
    ),
]
