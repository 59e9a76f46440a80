"""What makes a kind of value: pydantic's types and constraints, and the words for who missed them.

    Nice = Annotated[int, whole(-20, 19)]
    User = Annotated[str, Kind("name", 'a name such as "ann"', Matching(PATTERN), values.user)]

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
from unitq.toml.values import MistakeError, MistakesError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import StrEnum

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

T = TypeVar("T")


class Table(BaseModel):
    """A table of the file: no other keys, nothing converted, nothing changed later."""

    # Built once, as part of the file's: each table on its own would double the time.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a type is called, and what is expected where something else stands."""

    words: str  # in the reference
    expected: str
    shape: Any = None  # the type that the file has, if it is not the app's own
    then: Callable[[Any], Any] | None = None  # makes the app's; a ValueError is not as expected
    near: Sequence[str] = ()  # all that may stand there, if that is a closed set

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        inner = handler(source) if self.shape is None else handler.generate_schema(self.shape)
        if self.then:
            inner = core_schema.no_info_after_validator_function(self.then, inner)
        return core_schema.no_info_wrap_validator_function(self._check, inner)

    def _check(self, value: object, check: Callable[[object], object]) -> object:
        try:
            return check(value)
        except ValidationError as error:
            every = error.errors(include_url=False, include_input=False)
            kinds = {item["type"] for item in every if _is_silent(item)}
            # A list is too short for pydantic as well where its items are wrong.
            if kinds - {"too_short"} or (kinds and len(every) == 1):
                raise MistakeError(self.expected, words=self.near) from None
            raise


def _is_silent(error: Any) -> bool:
    """Whether pydantic's finding is about the value itself, and not in our words."""
    if error["type"] == "value_error":
        return not isinstance(error["ctx"]["error"], MistakeError | MistakesError)
    if error["type"] == "missing":
        return isinstance(error["loc"][-1], int)  # the first word of a list
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


def text(pattern: str, longest: int | None = None) -> Any:
    """The shape of a string that is nothing but this."""
    return Annotated[str, Field(pattern=f"^({pattern})$", max_length=longest)]


def listed(item: Any, words: str, expected: str, least: int = 0) -> Kind:
    """A list of distinct items."""
    shape = Annotated[tuple[item, ...], Field(strict=False, min_length=least), Distinct()]
    return Kind(words, expected, shape)


def whole(low: int, high: int) -> Kind:
    """A whole number within bounds; `true` and 4.0 are none."""
    shape = Annotated[int, Field(ge=low, le=high)]
    return Kind(f"{low} to {high}", f"a whole number from {low} to {high}", shape)


def bounded(longest: int) -> Callable[[str], str]:
    """Refuses what has more bytes."""

    def check(value: str) -> str:
        if len(value.encode()) > longest:
            raise MistakeError(why=f"longer than {longest} bytes")
        return value

    return check


def _span(words: str, expected: str, pattern: str, low: int) -> Kind:
    def check(value: str | int) -> Duration:
        found = values.span(value)
        if low and not found.seconds:
            raise ValueError(value)
        return found

    word, number = Annotated[str, Field(pattern=pattern)], Annotated[int, Field(ge=low)]
    return Kind(words, expected, forms(word, number), check)


def _refuse_leftovers(mode: object) -> object:
    if mode in ("process", "none"):
        raise MistakeError(
            why=f'"{mode}" leaves processes behind that go on with the old code; '
            'use "control-group" or "mixed"'
        )
    return mode


def _refuse_to_kill(signal: object) -> object:
    if isinstance(signal, str):
        values.stop_signal(signal)
    return signal


_SIGNALS = "|".join(values.SIGNALS)
# A look-ahead would say "but not KILL and STOP"; not every editor's regular expressions have it.
_STOPPING = "|".join(name for name in values.SIGNALS if name not in ("KILL", "STOP"))
_FULL = [f"SIG{name}" for name in values.SIGNALS]

Name = Annotated[
    str,
    Kind(
        "name",
        'a name of letters, digits, "-" and "_", 1 to 63 characters, first a letter or digit',
        text(NAME),
    ),
]
PresetName = Annotated[
    str, Kind("name of a preset", 'the name of a preset such as "php-resque"', text(NAME))
]
Command = Annotated[
    str,
    Kind("command line", values.COMMAND, Annotated[str, Field(min_length=1)], values.command),
]
AnySpan = Annotated[
    Duration,
    _span('time span, or `"infinity"`', f"{duration.EXAMPLE}, longer than zero",
          duration.PATTERN, 1),
]  # fmt: skip
ShortSpan = Annotated[Duration, _span("time span", values.SPAN, duration.FINITE, 0)]
LongSpan = Annotated[
    Duration, _span("time span", f"{values.SPAN}, longer than zero", duration.FINITE, 1)
]
StopSignal = Annotated[
    str,
    Kind("signal", 'a signal such as "SIGTERM"',
         text(f"(SIG)?({_STOPPING}|{values.REAL_TIME})"), values.signal, _FULL),
    BeforeValidator(_refuse_to_kill),
]  # fmt: skip
AnySignal = Annotated[
    str,
    Kind("signal", 'a signal such as "SIGUSR2"',
         text(f"(SIG)?({_SIGNALS}|{values.REAL_TIME})"), values.signal, _FULL),
]  # fmt: skip
KillModeWord = Annotated[KillMode, Choice(), BeforeValidator(_refuse_leftovers)]
Flag = Annotated[bool, Kind("`true` or `false`", "true or false")]
FindingName = Annotated[
    str,
    Kind(
        "name of a finding",
        'the name that `check` prints in brackets, such as "pipe"',
        text(values.FINDING_NAME),
    ),
]
Variables = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        "table of strings and whole numbers",
        'a table such as { APP_ENV = "production" }',
        dict[
            Annotated[
                str,
                AfterValidator(values.variable),
                WithJsonSchema({"type": "string", "pattern": f"^{values.VARIABLE}$"}),
            ],
            Annotated[
                str,
                Kind(
                    "string or whole number",
                    "a string or a whole number; quotes make a string of anything",
                    forms(str, int),
                    str,
                ),
            ],
        ],
        lambda table: tuple(table.items()),
    ),
]
