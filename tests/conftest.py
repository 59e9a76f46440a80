"""What all tests share.

Property tests try the same examples each time, so that a run says something about the change and
not about chance. `HYPOTHESIS_PROFILE=wild script/test core` looks for new ones; what it finds
becomes a test, or a line in the issue.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.harness import findings, seconds
from tests.harness.daily import mark_long

# How long an example takes says how busy the machine is.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("wild", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

findings.install()


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    if seconds.ASKED:
        config.pluginmanager.register(seconds.Seconds())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest, before it goes by the marks."""
    mark_long(items)
