"""Profiles that changed → who entered and left which audience → what each hook is to be told; all in the worker's transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from huaxiang.apply.market.language import Reader
from huaxiang.apply.market.live_audiences import LiveAudiences, follow_live
from huaxiang.serve.hooks.membership import Found, Members
from huaxiang.serve.hooks.outbox import Outbox
from huaxiang.shop import Shop
from huaxiang.store import Writer

log = logging.getLogger(__name__)

AT_ONCE = 5_000  # profiles of the lake looked at together


class Follower:
    """Follows the audiences of a shop. Used by the worker's thread."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._live: LiveAudiences | None = None
        self._members: Members | None = None

    def open(self, shop: Shop) -> None:
        """Reads the audiences anew, after each build; who belongs to one that is new, by the profiles of the build, is not told of."""
        if self._live is not None:
            self._live.close()
        texts = {name: one.when for name, one in shop.settings.audiences.items()}
        self._live = live = follow_live(Reader(shop.lake, texts, shop.settings.profile))
        for name, why in live.unfollowed.items():
            tell = log.warning if why.reason == "unreadable" else log.info
            tell("audience %s is not followed live: %s", name, why.say("en"))
        self._members = members = Members(self._outbox.database, live.versions)
        with self._outbox.database.transaction() as write:
            self._outbox.put(write, members.start(write, _now(), _everybody(shop, live)))

    def __call__(self, write: Writer, rows: Sequence[Mapping[str, Any]]) -> None:
        """rows: of `profiles`; {"user_id", "gone"} of a visitor that became a user; {"user_id", "erased"} of who is forgotten"""
        if self._live is None or self._members is None:
            return
        erased = [row["user_id"] for row in rows if row.get("erased")]
        if erased:
            self._members.forget(write, erased)
            self._outbox.forget(write, erased)
        found: dict[str, frozenset[str]] = {row["user_id"]: frozenset() for row in rows if row.get("gone")}
        profiles = [row for row in rows if not row.get("gone") and not row.get("erased")]
        if profiles:
            columns = {name: [row.get(name) for row in profiles] for name in self._live.columns}
            found |= self._live.memberships(pa.table(columns, schema=self._live.schema))
        if found:
            self._outbox.put(write, self._members.diff(write, _now(), found))

    def of(self, user: str) -> dict[str, int]:
        """audience → since when (µs) a user belongs to it."""
        return {} if self._members is None else self._members.of(user)


def _everybody(shop: Shop, live: LiveAudiences) -> Iterator[Found]:
    columns = ", ".join(f'"{name}"' for name in live.columns)
    for batch in shop.engine.batches(
        f"SELECT {columns} FROM ({shop.engine.sql(shop.lake.table('profiles'))})", AT_ONCE
    ):
        yield live.memberships(pa.Table.from_batches([batch]))


def _now() -> int:
    return time.time_ns() // 1000
