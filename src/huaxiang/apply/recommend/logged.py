"""From a log of what was shown to what another list would have earned: the file, and the chance with which the other list shows the same.

The log has a row an impression: user_id, propensity (the chance it was shown with) and reward, and either `wanted`, the chance with which the other list
would show it there, or item_id and place: then the other list is the table `recommendations` as it stands, which shows an item at a place or does not, and the log itself tells what to expect of an
item at a place (outcome.py), for the doubly robust estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from huaxiang.apply.recommend.offpolicy import OffPolicy, estimate_policy
from huaxiang.apply.recommend.outcome import expect_rewards
from huaxiang.apply.recommend.past import Floats, Ints
from huaxiang.apply.recommend.written import TABLE
from huaxiang.engine import Lake
from huaxiang.errors import ModelError, SourceError

IDS = pa_csv.ConvertOptions(column_types={"user_id": pa.string(), "item_id": pa.string()})  # 007 is not 7
Naming = Callable[[pa.Array], pa.Array]  # the shop's own ids -> pseudonyms


def estimate_log(lake: Lake, path: Path, *, naming: Naming | None, seed: int) -> OffPolicy:
    """naming: of user_id (None: it holds pseudonyms)

    raises: SourceError for a file that cannot be read, ModelError for one that lacks a column or holds impossible chances
    """
    log = _read(path)
    own = "wanted" in log.column_names
    needed = ("user_id", "propensity", "reward", *(() if own else ("item_id", "place")))
    lack = [name for name in needed if name not in log.column_names]
    if lack:
        raise ModelError("recommend.log_column", lack=", ".join(lack), have=", ".join(log.column_names))
    users = log["user_id"].cast(pa.string()).combine_chunks()
    reward, shown = _floats(log, "reward"), _floats(log, "propensity")
    group = _codes(users)
    if own:
        return estimate_policy(reward, shown, _floats(log, "wanted"), seed=seed, group=group)
    item = log["item_id"].cast(pa.string()).combine_chunks()
    listed = _listed(lake, log, users, naming)
    code = _codes(pa.concat_arrays([item, listed]))
    standing = np.where(listed.is_valid().to_numpy(zero_copy_only=False), code[len(item) :], -1)
    _, place = np.unique(_floats(log, "place"), return_inverse=True)
    expected = expect_rewards(reward, place, code[: len(item)], standing, group, seed=seed)
    wanted = (code[: len(item)] == standing).astype(np.float64)
    return estimate_policy(
        reward, shown, wanted, seed=seed, group=group, expected_shown=expected[0], expected_wanted=expected[1]
    )


def _read(path: Path) -> pa.Table:
    try:
        return (
            pq.read_table(path)
            if path.suffix.lower() in (".parquet", ".pq")
            else pa_csv.read_csv(path, convert_options=IDS)
        )
    except FileNotFoundError as error:
        raise SourceError("models.table_missing", path=path) from error
    except pa.ArrowInvalid as error:
        raise SourceError("models.table_unreadable", path=path, detail=str(error).splitlines()[0][:160]) from error


def _listed(lake: Lake, log: pa.Table, users: pa.Array, naming: Naming | None) -> pa.Array:
    """(N,) the item that the table `recommendations` has at the place for the customer, null: none."""
    if not lake.has(TABLE):
        raise ModelError("recommend.not_trained")
    engine = lake.engine
    known = pc.is_in(users, engine.arrow(f"SELECT DISTINCT user_id FROM ({engine.sql(lake.table(TABLE))})")["user_id"].combine_chunks())  # fmt: skip
    named = users if naming is None else pc.if_else(known, users, naming(users))
    asked = engine.load(pa.table({"line": np.arange(len(users)), "user_id": named, "place": _floats(log, "place")}))  # fmt: skip
    found = engine.arrow(f"SELECT item_id FROM {asked.get_name()} LEFT JOIN ({engine.sql(lake.table(TABLE))}) USING (user_id, place) ORDER BY line")  # fmt: skip
    engine.drop(asked)
    return found["item_id"].cast(pa.string()).combine_chunks()


def _codes(values: pa.Array) -> Ints:
    """(N,) a number from 0 of each different value, null as if empty."""
    found = values.fill_null("").dictionary_encode()
    return found.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _floats(log: pa.Table, name: str) -> Floats:
    try:
        return np.asarray(log[name].cast(pa.float64()), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ModelError("recommend.log_number", name=name) from error
