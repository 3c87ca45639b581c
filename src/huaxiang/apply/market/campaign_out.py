"""Which campaigns have left the house, and when; one that has not may be taken back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

from huaxiang.apply.market.consent import ASSIGNED
from huaxiang.apply.market.offers import OFFERED
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError

KEPT = ("campaign", "sent_at")  # of a plan's note


@contextlib.contextmanager
def leaving(lake: Lake, name: str, at: datetime | None) -> Iterator[None]:
    """Keeps, where nothing fails inside, that the campaign left the house at `at` (UTC; None: now): its messages count against the cap."""
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0) if at is None else at
    before = lake.note(f"campaign.{name}")
    with lake.step(f"campaign.{name}") as step:
        yield
        step.note |= {one: before[one] for one in KEPT if one in before} | {"sent_at": moment.isoformat()}


def take_back(lake: Lake, name: str) -> None:
    """Remove a plan that was never exported or sent, with its assignments. raises: ShopError for one that was"""
    note = lake.note(f"campaign.{name}")
    if "sent_at" not in note:  # planned by a version that did not keep it
        raise ShopError("market.perhaps_sent", name=name)
    if note["sent_at"] is not None:
        raise ShopError("market.was_sent", name=name, at=note["sent_at"])
    engine = lake.engine
    with lake.step(f"campaign.{name}") as step:
        for table in (ASSIGNED, OFFERED):
            if lake.has(table):
                rest = f"SELECT * FROM ({engine.sql(lake.table(table))}) WHERE campaign <> {quote(name)}"
                step.replace(table, rest)
        step.note["removed"] = True
