"""Completes words in a shell: fast, and without a traceback.

Reads names only: no bus, no Redis, no program. A name goes into a command line, perhaps
root's: one with a character that the shell would interpret is left out, whatever its source.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click
    from click.shell_completion import CompletionItem

    from unitq.api import App

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@=+-]*")
_MAX = 1000  # names: nobody reads more


def _names(of: Callable[[App, str], Iterable[str]]) -> Complete:
    """Returns a completer for these names; it completes nothing on an error."""

    @wraps(of)
    def complete(
        context: click.Context,
        parameter: click.Parameter,  # noqa: ARG001
        incomplete: str,
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            names = list(of(_app(context), incomplete))
        except Exception:  # noqa: BLE001  (a shell would print it into the line being typed)
            return []
        matches = [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
        return [CompletionItem(name) for name in matches[:_MAX]]

    return complete


def _app(context: click.Context) -> App:
    from unitq.api import Manager

    options: dict[str, Any] = {}
    above: click.Context | None = context
    while above is not None:
        # An option behind the verb wins over the same option before it.
        options = {name: value for name, value in above.params.items() if value} | options
        above = above.parent
    manager = Manager(user=bool(options.get("user")))
    return manager.app(options.get("app"), config=options.get("config"))


def words(*choices: str) -> Complete:
    """Completes with one of these."""
    return _names(lambda _, __: choices)


@_names
def apps(app: App, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """The apps that are installed."""
    from unitq.api import Manager

    return (installed.name for installed in Manager(user=app.user).apps())


@_names
def targets(app: App, incomplete: str) -> Iterable[str]:
    """Workers; behind an "@" instances."""
    revision = app.installed()
    if "@" in incomplete:
        return map(str, revision.instances)
    return (worker.name for worker in revision.workers)


@_names
def counts(app: App, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """`sms=4`: how many there are now."""
    return (f"{worker.name}={worker.instances}" for worker in app.installed().workers)


@_names
def revisions(app: App, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """Stored revisions, newest first."""
    return app.revisions()


@_names
def presets(app: App, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """Presets of unitq and of the operator."""
    return app.preset_names()


@_names
def signals(app: App, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """Signal names as `kill -l` prints them; with SIG in front if the word begins so."""
    import signal

    short = [member.name.removeprefix("SIG") for member in signal.Signals]
    return [f"{'SIG' * incomplete.startswith('SIG')}{name}" for name in short]


def files(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The shell's own files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def folders(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The shell's own directories."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]
