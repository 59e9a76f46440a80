"""progress.log: a line for each that was told, whatever is in it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tests.harness.terminal import EVIL
from unitq.model.layout import AppLayout
from unitq.printable import one_line
from unitq.rollout import ledger_store

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_kept_for_who_looks_on_is_one_line(tmp_path: Path) -> None:
    place = AppLayout(PurePosixPath(tmp_path / "shop"), PurePosixPath(tmp_path / "shop.lock"))
    with ledger_store.begin(
        place, "deploy", revision="1-a", previous=None, instances=1, max_unavailable=None
    ) as book:
        news = ledger_store.Progress(place)
        for line in ("  sms@1  draining", f"  sms@2  draining: {EVIL}\udcff"):
            book.progress(line)
        assert news.news() == ["  sms@1  draining", one_line(f"  sms@2  draining: {EVIL}\udcff")]
