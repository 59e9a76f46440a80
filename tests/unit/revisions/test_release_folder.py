"""Whether a directory is the one that the releases are in."""

from __future__ import annotations

import pytest

from unitq.revisions.release_folder import Folder, one_level_below


@pytest.mark.parametrize(
    ("path", "releases", "below"),
    [
        ("/srv/a/releases", {"w": {"/srv/a/releases/1", "/srv/a/releases/2"}}, ""),
        ("/srv/a", {"w": {"/srv/a/releases/1", "/srv/a/releases/2"}}, "/srv/a/releases"),
        # The code is further down, and there are two workers in one release.
        ("/srv/a", {"w": {"/srv/a/1/api"}, "v": {"/srv/a/1/web"}}, ""),
        ("/srv/a", {"w": {"/srv/a/1/api", "/srv/a/2/api"}}, ""),
        # One release tells nothing.
        ("/srv/a", {"w": {"/srv/a/releases/1"}}, ""),
        ("/srv/a", {"w": {"/srv/a/r/1", "/srv/a/r/2", "/elsewhere"}}, "/srv/a/r"),
        ("/srv/a", {}, ""),
    ],
)
def test_one_level_too_high(path: str, releases: dict[str, set[str]], below: str) -> None:
    assert one_level_below(Folder(path, -1, (), {}), releases) == below
