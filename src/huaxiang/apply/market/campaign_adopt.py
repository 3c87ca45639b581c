"""A randomised test that another tool ran, taken in as campaigns: from its log of who was drawn for what, controls included.

Where the log tells the chance of each draw (a column `propensity`) and it differs between customers, the arms are not alike as they
stand. Rows are then kept in proportion to 1 / propensity within each arm, by a hash, so that in what is kept the arms were drawn alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.apply.market.experiment import read_table
from huaxiang.apply.market.holdout import place_of
from huaxiang.errors import DefinitionError, SourceError

COLUMNS: dict[str, tuple[str, ...]] = {
    "user": ("user_id", "uid", "customer_id", "member_id", "客户编号", "会员编号", "用户编号"),
    "arm": ("arm", "group", "treatment", "variant", "segment", "分组", "组别"),
    "at": ("sent_at", "assigned_at", "ts", "time", "date", "发送时间", "分组时间"),
    "campaign": ("campaign", "campaign_id", "活动", "活动编号"),
    "propensity": ("propensity", "probability", "概率"),
}
NEEDED = ("user", "arm", "at")
SPREAD = timedelta(days=1)  # in which a campaign's customers were drawn


@dataclass(frozen=True)
class Drawn:
    """One campaign of the log. users: as the log names them; offers: of each ("" for the control); left_out: rows of the log not kept
    because their chance was larger than others'; in_two_arms: customers not kept, for the log has them in more than one arm."""

    name: str
    at: datetime
    users: tuple[str, ...]
    offers: tuple[str, ...]
    left_out: int
    in_two_arms: int = 0


def read_log(path: Path, *, name: str = "", control: str, zone: str, salt: str) -> list[Drawn]:
    """The campaigns of a CSV or Parquet log, in order of time.

    name: of the campaign, where the log does not name them; else the one to take of those it names ("": all)
    control: the arm that got nothing; zone: of times written without one; salt: of the hash
    raises: SourceError for a file that cannot be read or lacks a column, DefinitionError for one without the control, or not drawn in a day
    """
    table = read_table(path)
    found = {role: _find(table, names) for role, names in COLUMNS.items()}
    for role in NEEDED:
        if not found[role]:
            raise SourceError(
                "market.log_column", path=path, known=", ".join(COLUMNS[role]), have=", ".join(table.column_names)
            )
    rows = pa.table({role: _texts(table[column]) for role, column in found.items() if column and role != "propensity"})
    arms = set(rows["arm"].to_pylist())
    if control not in arms or len(arms) < 2:
        raise DefinitionError("market.log_control", control=control, have=", ".join(sorted(map(str, arms))[:10]))
    keep = _keep(rows, _chances(table[found["propensity"]]) if found["propensity"] else None, salt)
    if not found["campaign"]:
        if not name:
            raise DefinitionError("market.log_name", path=path)
        return [_campaign(rows, name, control, zone, keep)]
    campaigns = np.array([str(one) for one in rows["campaign"].to_pylist()])
    labels = sorted(set(campaigns.tolist()))
    if name and name not in labels:
        raise DefinitionError("market.log_campaign", name=name, have=", ".join(labels[:20]))
    made = []
    for label in [name] if name else labels:
        mine = campaigns == label
        made.append(_campaign(rows.filter(pa.array(mine)), label, control, zone, keep[mine]))
    return sorted(made, key=lambda one: (one.at, one.name))


def _chances(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) chances; raises DefinitionError for a column that does not hold numbers."""
    try:
        return np.asarray(pc.cast(column, pa.float64()), dtype=float)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DefinitionError("market.log_propensity") from error


def _campaign(rows: pa.Table, name: str, control: str, zone: str, keep: np.ndarray) -> Drawn:
    """keep: (N,) the rows that stay; the times, and who is in two arms, are those of all."""
    times = [_moment(text, zone) for text in set(rows["at"].to_pylist())]
    if max(times) - min(times) > SPREAD:
        days = (max(times) - min(times)).days
        raise DefinitionError("market.log_days", name=name, days=days, known=", ".join(COLUMNS["campaign"]))
    arm_of: dict[str, str] = {}
    twice = set()
    for user, arm in zip(rows["user"].to_pylist(), rows["arm"].to_pylist(), strict=True):
        if arm_of.setdefault(user, arm) != arm:
            twice.add(user)
    users = dict.fromkeys(
        user for user in rows["user"].filter(pa.array(keep)).to_pylist() if user and user not in twice
    )
    offers = tuple("" if arm_of[user] == control else str(arm_of[user]) for user in users)
    return Drawn(name, min(times), tuple(users), offers, int((~keep).sum()), len(twice))


def _keep(rows: pa.Table, chance: np.ndarray | None, salt: str) -> np.ndarray:
    """(N,) whether a row stays: of each arm with chance (its least propensity) / (its own)."""
    keep = np.ones(rows.num_rows, dtype=bool)
    if chance is None:
        return keep
    if not bool(np.all((chance > 0) & (chance <= 1))):
        raise DefinitionError("market.log_propensity")
    arms = np.array(rows["arm"].to_pylist())
    for arm in np.unique(arms):
        mine = np.flatnonzero(arms == arm)
        least = chance[mine].min()
        for place in mine[chance[mine] > least * (1 + 1e-9)]:
            row = rows.slice(int(place), 1).to_pylist()[0]
            keep[place] = place_of(f"{salt}.{row.get('campaign', '')}", row["user"]) < least / chance[place]
    return keep


def _find(table: pa.Table, names: Sequence[str]) -> str:
    plain = {name.strip().lower(): name for name in table.column_names}
    return next((plain[name] for name in names if name in plain), "")


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.string())


def _moment(text: str | None, zone: str) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise DefinitionError("market.at", text=text) from error
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC).replace(tzinfo=None)
