"""The table `recommendations`: the home list of every customer, of those too who did nothing yet, block by block."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.past import Floats, Past, distinct
from huaxiang.apply.recommend.reader import cut_users
from huaxiang.apply.recommend.reasons import cite
from huaxiang.apply.recommend.rules import Lists
from huaxiang.apply.recommend.table import Candidates
from huaxiang.engine import Step
from huaxiang.progress import Advance
from huaxiang.settings.recommend import RecommendSettings

TABLE = "recommendations"
BLOCK = 2_000  # customers whose candidates are held at once
WRITTEN = 20  # blocks that are written at once
REASONED = 10_000  # customers who did something, up to which each row says what it is shown for: ten times the work of the lists alone
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()), ("place", pa.int16()), ("item_id", pa.string()), ("score", pa.float64()), ("source", pa.string()),
        ("because", pa.string()), ("chance", pa.bool_()), ("propensity", pa.float64()), ("as_of", pa.date32()), ("version", pa.string()),
    ]
)  # fmt: skip


def blocks_of(past: Past) -> int:
    return -(-len(past.users) // BLOCK)


def write_lists(step: Step, desk: Desk, past: Past, rules: RecommendSettings, *, seed: int, advance: Advance) -> None:
    """Replaces the table by the lists of all customers of `past`."""
    step.replace(TABLE, SCHEMA.empty_table())
    held: list[pa.Table] = []
    reasons = len(distinct(past.user)) <= REASONED
    for low in range(0, len(past.users), BLOCK):
        some = cut_users(past, np.arange(low, min(low + BLOCK, len(past.users))))
        table, score, lists = desk.lists(
            some, rules, new=desk.drops(rules), count=rules.count, seed=(seed, desk.learned.day, low)
        )
        held.append(_rows(desk, some, table, score, lists, new=desk.drops(rules), reasons=reasons))
        if len(held) == WRITTEN or low + BLOCK >= len(past.users):
            step.append(TABLE, pa.concat_tables(held))
            held = []
        advance(1)


def _rows(
    desk: Desk, past: Past, table: Candidates, score: Floats, lists: Lists, *, new: bool, reasons: bool
) -> pa.Table:
    user, place = np.nonzero(lists.row >= 0)
    row = lists.row[user, place]
    names = table.sources
    ranks = table.values[row][:, [table.columns.index(f"{name}_rank") for name in names]]
    cited = np.full(len(row), -1)
    if reasons:
        order = desk.orders["new" if new else "any"]
        cited, _ = cite(desk, past, order, user, table.item[row], score[row], tries=1)
    ids, who = np.array([*desk.shelf.ids, None], dtype=object), np.array(past.users, dtype=object)
    return pa.table(
        [
            pa.array(who[user], pa.string()), pa.array(place + 1, pa.int16()), pa.array(ids[table.item[row]], pa.string()),
            pa.array(score[row]), pa.array(np.array(names, dtype=object)[ranks.argmin(axis=1)], pa.string()), pa.array(ids[cited], pa.string()),
            pa.array(lists.chance[user, place]), pa.array(lists.propensity[user, place]),
            pa.array(np.full(len(row), np.datetime64(desk.as_of))), pa.array([desk.version] * len(row), pa.string()),
        ],
        schema=SCHEMA,
    )  # fmt: skip
