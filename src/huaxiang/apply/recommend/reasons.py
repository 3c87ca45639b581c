"""What of a customer's past speaks for what they are shown: the item without which the score truly falls.

Tried are the item itself, where the customer met it, and those of their past that are nearest to it. Each is taken away once, as if another customer had
not done it, and all such customers are scored together. Where no removal lowers the score, nothing is cited.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.learn import Order
from huaxiang.apply.recommend.past import COLUMNS, Floats, Ints, Past, distinct
from huaxiang.apply.recommend.sources import candidates, meet
from huaxiang.apply.recommend.table import table_of

FAINT = 1e-9  # fall of the score that is none
MOST = 99.0  # told of one that is no candidate any more
COPIES = 2_000  # customers less one item that are scored at once


def cite(desk: Desk, past: Past, order: Order, user: Ints, item: Ints, score: Floats, *, tries: int) -> tuple[Ints, Floats]:  # fmt: skip
    """Of each listed item (N,) the one of the customer's past whose removal lowers its score most (−1: none does), and by how much."""
    seen = past.before(desk.learned.day)
    tried = _nearest(desk, seen, user, item, tries)  # (N, T)
    row, place = np.nonzero(tried >= 0)
    fall = np.full(tried.shape, -np.inf)
    left = _scores_without(desk, seen, order, user[row], item[row], tried[row, place])
    fall[row, place] = np.minimum(score[row] - left, MOST)
    best, each = fall.argmax(axis=1), np.arange(len(item))
    most = fall[each, best]
    return np.where(most > FAINT, tried[each, best], -1), np.where(most > FAINT, most, 0.0)


def _nearest(desk: Desk, seen: Past, user: Ints, item: Ints, tries: int) -> Ints:
    """(N, tries) items of the customer's past that may speak for each item: itself, then by nearness; −1: no more."""
    size, towards = len(desk.shelf), desk.learned.towards
    own = np.unique(seen.user * size + seen.item)
    count = np.diff(towards.indptr)[item]
    pair = np.repeat(np.arange(len(item)), count)
    at = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + towards.indptr[item][pair]
    pair = np.concatenate([pair, np.arange(len(item))])
    speaker = np.concatenate([towards.indices[at], item])
    speaks = np.concatenate([towards.data[at], np.full(len(item), np.inf)])
    kept = np.isin(user[pair] * size + speaker, own) & (speaks > 0)
    pair, speaker, speaks = pair[kept], speaker[kept], speaks[kept]
    order = np.lexsort((speaker, -speaks, pair))
    place = np.arange(len(order)) - np.searchsorted(pair[order], pair[order])
    some = place < tries
    found = np.full((len(item), tries), -1, np.int64)
    found[pair[order][some], place[some]] = speaker[order][some]
    return found


def _scores_without(desk: Desk, seen: Past, order: Order, user: Ints, item: Ints, gone: Ints) -> Floats:
    """(M,) the score of each item for a customer who never met `gone`; −inf where it is no candidate any more."""
    size, left = len(desk.shelf), np.full(len(item), -np.inf)
    copies, of = np.unique(user * size + gone, return_inverse=True)
    for low in range(0, len(copies), COPIES):
        some = copies[low : low + COPIES]
        rest = _each_without(seen, some // size, some % size)
        asked = np.flatnonzero((of >= low) & (of < low + len(some)))
        wanted = (of[asked] - low) * size + item[asked]
        met = meet(rest, desk.shelf, desk.learned.day)
        scores = candidates(desk.learned, rest, desk.shelf, met)
        table = table_of(scores, desk.learned, rest, desk.shelf, met=met, only=distinct(wanted))
        key = table.user * size + table.item
        at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
        held = key[at] == wanted if len(key) else np.zeros(len(asked), bool)
        left[asked[held]] = order.score(table.rows(at[held]))
    return left


def _each_without(seen: Past, user: Ints, gone: Ints) -> Past:
    """A copy of a customer's past for each pair, without what they did with one item."""
    first, end = np.searchsorted(seen.user, user), np.searchsorted(seen.user, user + 1)
    count = end - first
    copy = np.repeat(np.arange(len(user)), count)
    event = np.arange(len(copy)) - np.repeat(np.cumsum(count) - count, count) + first[copy]
    kept = seen.item[event] != gone[copy]
    cut = {name: getattr(seen, name)[event[kept]] for name in COLUMNS}
    declared = seen.declared[user] if seen.declared.size else seen.declared
    profile = seen.profile[user] if seen.profile.size else seen.profile
    cut["user"] = copy[kept].astype(np.int64)
    return replace(seen, users=tuple(map(str, range(len(user)))), declared=declared, profile=profile, **cut)
