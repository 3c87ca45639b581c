"""What customers did before a date, event by event: the second input of a model, beside the columns of a Matrix.

Letters: N rows (a customer at a date), M rows that were read, T events of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.next_item.sequences import Floats, Ints, Sequences

RECENT_EVENTS = "recent_events"  # the column that stands for the history where effects are counted by column
LENGTH = 64  # events of a row that are kept, the last ones before its date


@dataclass(frozen=True)
class Histories:
    """Each row's events before its date, oldest first.

    events: of the M rows that were read; `item` is 0 for none, else ready.items' item_no + 1; prices NaN where unknown
    category: (T,) place in `names`, −1 for none; clock: (T,) hour of the week in the shop's time, 0: Monday 0 h, −1: unknown
    until: (M,) seconds since 1970 at which the row's date begins; row: (N,) which of the M each row is (so rows are chosen, and
    folds made, without a copy of the events); vectors: (M, W) what the frozen behaviour model makes of each, or None
    """

    events: Sequences
    category: Ints
    clock: Ints
    until: Ints
    names: tuple[str, ...]
    row: Ints
    vectors: Floats | None = None

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def lengths(self) -> Ints:
        """(N,) events of each row."""
        return self.events.lengths[self.row]

    def rows(self, index: NDArray[Any]) -> Histories:
        return replace(self, row=self.row[index])

    def places(self, length: int = LENGTH) -> tuple[Ints, Ints]:
        """Where the last `length` events of each row lie in the flat arrays, one row after another; (N,) how many each has."""
        count = np.minimum(self.lengths, length)
        first = self.events.starts[self.row + 1] - count
        return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count), count


def no_history(count: int) -> Histories:
    """Rows without any event."""
    none = np.zeros(0, dtype=np.int64)
    events = Sequences(np.zeros(count + 1, dtype=np.int64), none, none, none, np.zeros(0))
    return Histories(events, none, none, np.zeros(count, dtype=np.int64), (), np.arange(count))
