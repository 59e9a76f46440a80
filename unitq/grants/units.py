"""The units that carry out what is granted: a template for each verb. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from unitq.cmdline.exec_line import with_arguments
from unitq.grants.model import VERBS, template

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = "granted@.service.j2"
MARK = "# Written by `unitq grant`"


def units(text: str, program: Sequence[str]) -> dict[str, str]:
    """The text of each unit file by its name; `program` is what it runs, before its arguments."""
    jinja = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (unit files, not HTML; what is filled in is ours)
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    source = jinja.from_string(text)
    command = with_arguments("", tuple(program)).strip()
    return {
        template(verb): source.render(
            mark=MARK, verb=verb, typed=" ".join(words), program=command, prefix=f"unitq-{verb}"
        )
        for verb, words in VERBS.items()
    }
