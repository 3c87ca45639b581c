"""The behaviour model as a source of candidates: what it says each customer takes next, by what they did until the day asked about.

Only a model that was trained before the first look back may take part (models/past.py trains one): one that has seen what the ranker is asked
would be trusted for it. Its file is kept with the lists', so that the next training of the shop does not take it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.past import Ints, Past, Shelf
from huaxiang.engine import Lake
from huaxiang.models.behaviour_table import TABLE
from huaxiang.models.foresight import load_foresight
from huaxiang.models.next_item.lake import ShopItems
from huaxiang.models.next_item.sequences import Items, Sequences
from huaxiang.models.past import item_events

if TYPE_CHECKING:
    from huaxiang.models.behaviour import Behaviour

NAME = "behaviour"
SCORED = 4_000_000  # scores held at once
MOST = 2_000_000_000  # customers × items up to which everybody's scores are worth their time (about half a minute)


@dataclass(frozen=True)
class Foreseer:
    """code: (V,) of each item of the shelf the model's code, −1: it does not know it; place: the reverse."""

    model: Behaviour
    code: Ints
    place: Ints

    def __call__(self, seen: Past, shelf: Shelf, keep: int) -> csr_matrix:
        """(U, V) of the `keep` items most likely next its chance among them."""
        users, count = len(seen.users), min(keep, len(self.place))
        starts = np.searchsorted(seen.user, np.arange(users + 1)).astype(np.int64)
        met = ShopItems(np.arange(len(self.place)), Items(()))
        told = Sequences(starts, self.code[seen.item] + 1, seen.second, seen.kind, shelf.price[seen.item])
        events = item_events(told, met)
        has = np.flatnonzero(events.lengths > 0)
        rows, columns, values = [], [], []
        for some in np.array_split(has, max(1, -(-len(has) * len(self.place) // SCORED))):
            if len(some):
                item, score = self.model.top(events.take(some), count, seen=True)
                rows.append(np.repeat(some, count))
                columns.append(self.place[item].ravel())
                values.append(np.exp(score - score.max(axis=1, keepdims=True)).ravel().astype(np.float64))
        if not rows:
            return csr_matrix((users, len(shelf)))
        at = (np.concatenate(rows), np.concatenate(columns))
        found = csr_matrix((np.maximum(np.concatenate(values), 1e-12), at), shape=(users, len(shelf)))
        found.sort_indices()
        return found


def find_foreseer(lake: Lake, folder: Path, shelf: Shelf, *, before: int, users: int) -> Foreseer | None:
    """The shop's behaviour model that knows nothing of the day `before` and later; None where there is none, or too much to score.

    folder: models/ of the shop
    """
    from importlib.util import find_spec

    past = lake.note("train").get(TABLE, {}).get("past", {})
    if find_spec("torch") is None or not past or users * len(shelf) > MOST:
        return None
    if date.fromisoformat(past["before"]) > date(1970, 1, 1) + timedelta(days=before):
        return None
    found = load_foresight(folder, past["version"])
    return foreseer_of(found.model, found.ids, shelf)


def foreseer_of(model: Behaviour, ids: tuple[str, ...], shelf: Shelf) -> Foreseer | None:
    """None where the shop has dropped an item the model knows."""
    known = {name: at for at, name in enumerate(shelf.ids)}
    if not set(ids) <= set(known):
        return None
    place = np.array([known[name] for name in ids], dtype=np.int64)
    code = np.full(len(shelf), -1, dtype=np.int64)
    code[place] = np.arange(len(place))
    return Foreseer(model, code, place)
