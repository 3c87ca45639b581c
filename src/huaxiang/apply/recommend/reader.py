"""The past of one customer at a time, for a process that answers many: it is read a block of customers at once, and stays at hand.

A block is a range of buckets of about BLOCK events, which takes little longer to read than one customer. What was read is forgotten when the
lake moves on. Shops of more than HELD events are too large to keep: there each customer is read when asked about.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np

from huaxiang.apply.recommend.past import COLUMNS, Ints, Past, Shelf, read_past
from huaxiang.engine import Lake
from huaxiang.features.users import BUCKETS, bucket_of

BLOCK = 50_000  # events
HELD = 5_000_000  # events, of 56 bytes each


class Reader:
    """The pasts of the customers of a lake, as they are now. shelf: the items that events name"""

    def __init__(self, lake: Lake, shelf: Shelf) -> None:
        self.lake = lake
        self.shelf = shelf
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
            return read_past(self.lake, self.shelf, user_id=user_id)
        number = bucket_of(user_id) * self._count // BUCKETS
        if number not in self._blocks:
            low, high = (-(-part * BUCKETS // self._count) for part in (number, number + 1))
            self._blocks[number] = read_past(self.lake, self.shelf, buckets=(low, high))
        block = self._blocks[number]
        place = bisect_left(block.users, user_id)
        if place < len(block.users) and block.users[place] == user_id:
            return cut_users(block, np.arange(place, place + 1))
        declared = np.full((1, block.declared.shape[1]), "") if block.declared.size else block.declared
        profile = np.full((1, block.profile.shape[1]), np.nan, np.float32) if block.profile.size else block.profile
        return replace(cut_users(block, np.arange(0)), users=(user_id,), declared=declared, profile=profile)


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
