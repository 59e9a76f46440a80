"""progress.log: a line for each that was told, whatever is in it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tests.harness.terminal import EVIL
from unitq.core.layout import AppLayout
from unitq.host import ledger
from unitq.text import one_line

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_kept_for_who_looks_on_is_one_line(tmp_path: Path) -> None:
    place = AppLayout(PurePosixPath(tmp_path / "shop"), PurePosixPath(tmp_path / "shop.lock"))
    with ledger.begin(
        place, "deploy", revision="1-a", previous=None, instances=1, max_unavailable=None
    ) as book:
        news = ledger.Progress(place)
        for line in ("  sms@1  draining", f"  sms@2  draining: {EVIL}\udcff"):
            book.progress(line)
        assert news.news() == ["  sms@1  draining", one_line(f"  sms@2  draining: {EVIL}\udcff")]
