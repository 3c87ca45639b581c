"""The past of one customer at a time, for a process that answers many: it is read a block of customers at once, and stays at hand.

A block is a range of buckets of about BLOCK events, which takes little longer to read than one customer. What was read is forgotten when the
lake moves on. What the profile says of them is as of the day asked for, where the build is of another. Shops of more than HELD events are too large to keep: there each customer is read when asked about.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np

from huaxiang.apply.recommend.known import known_at
from huaxiang.apply.recommend.past import COLUMNS, Ints, Past, Shelf, day_of, read_past
from huaxiang.engine import Lake
from huaxiang.features.users import BUCKETS, bucket_of
from huaxiang.settings import Settings

BLOCK = 50_000  # events
HELD = 5_000_000  # events, of 56 bytes each


class Reader:
    """The pasts of the customers of a lake. shelf: the items that events name; day: (since 1970) only what was known before it (None: all that
    is known now); profiled: whether the profile features are to be of that day, too, where the build is of another"""

    def __init__(
        self,
        lake: Lake,
        shelf: Shelf,
        settings: Settings | None = None,
        *,
        day: int | None = None,
        profiled: bool = False,
    ) -> None:
        self.lake = lake
        self.shelf = shelf
        self.settings = settings or Settings()
        self.day = day
        self.profiled = profiled
        self._stamp: tuple[int, ...] = ()
        self._blocks: dict[int, Past] = {}
        self._count = 0  # of blocks; 0: the shop is too large to keep

    def past_of(self, user_id: str) -> Past:
        """As `read_past` of the one customer gives it."""
        if self.lake.stamp() != self._stamp:
            self._stamp, self._blocks = self.lake.stamp(), {}
            rows = self.lake.rows("ready.events")
            self._count = min(max(rows // BLOCK, 1), BUCKETS) if rows <= HELD else 0
        if not self._count:
            return self._read(user_id)
        number = bucket_of(user_id) * self._count // BUCKETS
        if number not in self._blocks:
            low, high = (-(-part * BUCKETS // self._count) for part in (number, number + 1))
            past = read_past(self.lake, self.shelf, buckets=(low, high), before=self.day)
            self._blocks[number] = self._then(past, (low, high))
        block = self._blocks[number]
        if not block.users:  # a block of nobody says nothing of what is known of customers
            return self._read(user_id)
        place = bisect_left(block.users, user_id)
        if place < len(block.users) and block.users[place] == user_id:
            return cut_users(block, np.arange(place, place + 1))
        declared = np.full((1, block.declared.shape[1]), "") if block.declared.size else block.declared
        profile = np.full((1, block.profile.shape[1]), np.nan, np.float32) if block.profile.size else block.profile
        return replace(cut_users(block, np.arange(0)), users=(user_id,), declared=declared, profile=profile)

    def _read(self, user_id: str) -> Past:
        own = bucket_of(user_id)
        return self._then(read_past(self.lake, self.shelf, user_id=user_id, before=self.day), (own, own + 1))

    def _then(self, past: Past, among: tuple[int, int]) -> Past:
        """`past` with the profile features of the day asked for."""
        if self.day is None or not self.profiled or not past.profile.size:
            return past
        if day_of(str(self.lake.note("build")["as_of"])) == self.day:
            return past
        return replace(
            past, profile=known_at(self.lake, self.settings, past.users, [self.day], among, everyone=True)[0]
        )


def cut_users(past: Past, users: Ints) -> Past:
    """The past of some neighbouring customers, who are numbered from 0."""
    first, end = (int(users[0]), int(users[-1]) + 1) if len(users) else (0, 0)
    low, high = np.searchsorted(past.user, [first, end])
    cut = {name: getattr(past, name)[low:high] for name in COLUMNS}
    return replace(
        past,
        users=past.users[first:end],
        declared=past.declared[first:end],
        profile=past.profile[first:end],
        **cut | {"user": cut["user"] - first},
    )
