"""What one customer will likely take next, and the events that speak most for it: take one away, and the item's score falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.users import bucket_of
from huaxiang.models.foresight import Foresight, load_foresight
from huaxiang.models.next_item.lake import LAST, runs_sql
from huaxiang.models.next_item.sequences import Sequences
from huaxiang.models.pretrain import check_version


@dataclass(frozen=True)
class Cited:
    """An event that speaks for the item. fall: how far the item's log score falls without it."""

    item_id: str
    title: str
    event: str
    ts: datetime
    fall: float


@dataclass(frozen=True)
class Foreseen:
    """An item likely next. share: its part of the score that all items get, which orders them and is no chance; had: whether the customer took it before."""

    item_id: str
    title: str
    share: float
    had: bool
    because: tuple[Cited, ...]

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for one in found["because"]:
            one["ts"] = f"{one['ts'].isoformat()}Z"
        return found


def foresee(lake: Lake, folder: Path, user_id: str, *, count: int = 5) -> list[Foreseen]:
    """The `count` items `user_id` (a pseudonym) will most likely take next, each with up to five events behind it.

    folder: models/ of the shop
    raises: ModelError where the shop has no behaviour model
    """
    found = load_foresight(folder, check_version(lake.note("train")))
    history, events = read_history(lake, found, user_id)
    listed, share = found.lists(history, count)
    titles = _titles(lake, [found.ids[place] for place in listed[0]])
    had = _had(lake, user_id, [found.ids[place] for place in listed[0]])
    made: list[Foreseen] = []
    for place, part in zip(listed[0], share[0], strict=True):
        at, fall = found.because(history, int(place)) if len(history.item) else (np.zeros(0, int), np.zeros(0))
        item = found.ids[place]
        cited = tuple(
            Cited(events[k]["item_id"], events[k]["title"], events[k]["event"], events[k]["ts"], float(one))
            for k, one in zip(at, fall, strict=True)
        )
        made.append(Foreseen(item, titles.get(item, item), float(part), item in had, cited))
    return made


def read_history(lake: Lake, found: Foresight, user_id: str) -> tuple[Sequences, list[dict[str, Any]]]:
    """A customer's last events of items the model knows, as it reads them and as a person does; several in a row on one item as one."""
    events = lake.engine.sql(lake.table("ready.events"))
    items = lake.engine.sql(lake.table("ready.items"))
    mine = (
        "SELECT user_no, ts, event_id, event_no, item_no, item_id, price "
        f"FROM ({events}) WHERE item_no IS NOT NULL AND user_id = {quote(user_id)} AND bucket = {bucket_of(user_id)}"
    )
    rows = lake.engine.rows(
        "SELECT e.item_id, coalesce(i.title, i.category || ' ' || e.item_id, e.item_id) AS title, "
        f"{list(EVENT_CODES)}[e.event_no] AS event, e.event_no, e.ts, epoch(e.ts)::BIGINT AS s, e.price "
        f"FROM ({runs_sql(mine)}) AS e LEFT JOIN ({items}) AS i ON i.item_no = e.item_no ORDER BY e.ts, e.event_id"
    )
    code = {item: place for place, item in enumerate(found.ids)}
    rows = [row for row in rows if row["item_id"] in code][-LAST:]

    def every(name: str, kind: Any) -> Any:
        return np.array([row[name] if row[name] is not None else np.nan for row in rows], dtype=kind)

    item = np.array([code[row["item_id"]] for row in rows], dtype=np.int64)
    starts = np.array([0, len(rows)], dtype=np.int64)
    return Sequences(starts, item, every("s", np.int64), every("event_no", np.int64), every("price", float)), rows


def _had(lake: Lake, user_id: str, wanted: list[str]) -> set[str]:
    """Those of the items that the customer took at any time, however long ago."""
    events = lake.engine.sql(lake.table("ready.events"))
    listed = ", ".join(map(quote, wanted))
    rows = lake.engine.rows(
        f"SELECT DISTINCT item_id FROM ({events}) WHERE user_id = {quote(user_id)} AND bucket = {bucket_of(user_id)} AND item_id IN ({listed})"
    )
    return {row["item_id"] for row in rows}


def _titles(lake: Lake, wanted: list[str]) -> Mapping[str, str]:
    items = lake.engine.sql(lake.table("ready.items"))
    listed = ", ".join(map(quote, wanted))
    rows = lake.engine.rows(
        f"SELECT item_id, coalesce(title, category || ' ' || item_id) AS title FROM ({items}) WHERE item_id IN ({listed})"
    )
    return {row["item_id"]: row["title"] for row in rows if row["title"]}


def can_foresee(lake: Lake) -> bool:
    """Whether the last training left a behaviour model, and PyTorch is here to read it."""
    from importlib.util import find_spec

    try:
        check_version(lake.note("train"))
    except ModelError:
        return False
    return find_spec("torch") is not None
