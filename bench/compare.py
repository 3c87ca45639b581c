"""Whether two ways of computing the features agree, column by column and customer by customer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def compare(opened: Any, found: pd.DataFrame) -> dict[str, Any]:
    """How many columns of `found` equal huaxiang's (1e-6 relative, absent = absent), which differ, which only huaxiang has.

    opened: the shop, built; found: one row a user_no (its index), as huaxiang's own table; lists as sequences
    """
    users = opened.engine.sql(opened.lake.table("ready.users"))
    table = opened.engine.sql(opened.lake.table("features"))
    rows = opened.engine.arrow(
        f"SELECT u.user_no, f.* EXCLUDE (user_id, as_of) FROM ({table}) f JOIN ({users}) u USING (user_id) ORDER BY user_no"
    )
    ours = rows.to_pandas().set_index("user_no")
    both = found.index.intersection(ours.index)
    names = ours.columns.intersection(found.columns)
    share = {name: float(np.mean(~_same(ours.loc[both, name], found.loc[both, name]))) for name in names}
    return {
        "columns": sum(not differing for differing in share.values()),
        "equal": sorted(name for name, differing in share.items() if not differing),
        "differing": {name: differing for name, differing in share.items() if differing},
        "only_ours": sorted(set(ours.columns) - set(share)),
        "users": len(both),
        "users_missing": len(ours.index.difference(found.index)),
    }


def _same(mine: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Which values of two columns are equal."""
    absent = mine.isna().to_numpy() & theirs.isna().to_numpy()
    if mine.dtype.kind in "if":
        return np.isclose(mine.to_numpy(float), theirs.to_numpy(float), rtol=1e-6, atol=1e-9) | absent
    if not len(held := mine.dropna()) or isinstance(held.iloc[0], str):
        return (mine == theirs).to_numpy() | absent
    return np.array([_same_lists(one, other) for one, other in zip(mine, theirs, strict=True)]) | absent


def _same_lists(mine: Any, theirs: Any) -> bool:
    """Two lists: of numbers, or of the strongest values of a key with their shares (strongest first)."""
    if not all(isinstance(one, list | tuple | np.ndarray) for one in (mine, theirs)) or len(mine) != len(theirs):
        return False
    if len(mine) and isinstance(mine[0], dict):
        mine, theirs = ([(one["key"], one["share"]) for one in side] for side in (mine, theirs))
        least = mine[-1][1] + 1e-6  # those as weak as the last may be others, as strong
        if {key for key, share in mine if share > least} - {key for key, _ in theirs}:
            return False
        mine, theirs = ([share for _, share in side] for side in (mine, theirs))
    return np.allclose(mine, theirs, rtol=0, atol=1e-6)
