"""What is learned from, and what is asked: the last item of each customer, or the first after a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.next_item.sequences import Ints, Sequences


@dataclass(frozen=True)
class Questions:
    """Q histories and the item that came next in each. history: Q users; target: (Q,); user: (Q,) whose it is, of all users."""

    history: Sequences
    target: Ints
    user: Ints

    def __len__(self) -> int:
        return len(self.target)

    def take(self, some: Ints) -> Questions:
        return Questions(self.history.take(some), self.target[some], self.user[some])


@dataclass(frozen=True)
class Split:
    """train: what models learn from; valid: what chooses between settings; test: asked once, at the end."""

    name: str
    train: Sequences
    valid: Questions
    test: Questions


def leave_one_out(every: Sequences) -> Split:
    """The last item of each user is asked in the test, the one before in validation; the rest is learned from.

    A user with fewer than three events asks nothing and is learned from whole. The test's histories hold the validation item.
    """
    asking = np.flatnonzero(every.lengths >= 3)
    if not len(asking):
        raise ModelError("models.next.short", split="leave-one-out")
    lengths = every.lengths.copy()
    lengths[asking] -= 2
    asked = every.take(asking)
    return Split(
        "leave-one-out",
        every.first(lengths),
        _ask(asked, asking, asked.lengths - 2),
        _ask(asked, asking, asked.lengths - 1),
    )


def by_time(every: Sequences, valid_from: int, test_from: int) -> Split:
    """The first item of each user at or after `test_from` (seconds since 1970) is asked in the test, the first from `valid_from`
    on and before `test_from` in validation; what was before `valid_from` is learned from. Who had no event before asks nothing.
    """
    if every.ts is None:
        raise ModelError("models.next.no_times")

    def before(when: int) -> Ints:
        return np.bincount(every.user[np.asarray(every.ts) < when], minlength=len(every))

    learned, known = before(valid_from), before(test_from)
    valid = np.flatnonzero((learned > 0) & (known > learned))
    test = np.flatnonzero((known > 0) & (every.lengths > known))
    if not len(valid) or not len(test):
        raise ModelError("models.next.short", split="by time")
    return Split(
        "by time",
        every.first(learned),
        _ask(every.take(valid), valid, learned[valid]),
        _ask(every.take(test), test, known[test]),
    )


def time_cuts(every: Sequences, valid: float = 0.1, test: float = 0.1) -> tuple[int, int]:
    """The times (seconds) after which the last `valid + test` and `test` shares of all events lie."""
    if every.ts is None:
        raise ModelError("models.next.no_times")
    first, second = np.quantile(every.ts, [1 - valid - test, 1 - test])
    return int(first), int(second)


def _ask(asked: Sequences, user: Ints, known: Ints) -> Questions:
    return Questions(asked.first(known), asked.item[asked.starts[:-1] + known], user)
