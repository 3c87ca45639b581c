"""Every customer as numbers: what profiles say, and the behaviour model's vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from huaxiang.engine import Lake
from huaxiang.errors import ShopError

Floats = NDArray[np.float64]
NOT_TRAITS = ("user_no", "weekday_top", "hour_top", "active_limit_days", "birth_year")


def read_traits(lake: Lake, *, predicted: bool = True) -> tuple[list[str], tuple[str, ...], Floats]:
    """Ids (N), sorted; the names (F) of the profiles' numbers (with those that models predict where `predicted`); and these (N, F), NaN
    where unknown."""
    if not lake.has("profiles"):
        raise ShopError("lake.no_table", name="profiles", have=", ".join(lake.names()) or "-")
    table = lake.table("profiles")
    foretold = {str(one["name"]) for one in lake.note("build").get("outcomes", [])}
    numbers = tuple(
        name
        for name, kind in table.schema().items()
        if (predicted or name.removesuffix("_predicted") not in foretold)
        and kind.is_numeric()
        and name not in NOT_TRAITS
        and not name.endswith("_confidence")
    )
    listed = "".join(f', "{name}"::DOUBLE AS "{name}"' for name in numbers)
    found = lake.engine.arrow(f"SELECT user_id{listed} FROM ({lake.engine.sql(table)}) ORDER BY user_id")
    names = [str(value) for value in found.column("user_id").to_pylist()]
    columns = [found.column(name).to_numpy(zero_copy_only=False).astype(float) for name in numbers]
    traits = np.column_stack(columns) if columns else np.zeros((len(names), 0))
    traits[~np.isfinite(traits)] = np.nan
    return names, numbers, traits


def read_vectors(lake: Lake, names: list[str]) -> Floats | None:
    """(N, D) the vector of each customer, zeros for who has none; None where the shop has no behaviour model."""
    if not lake.has("behaviour") or not lake.rows("behaviour"):
        return None
    told = lake.engine.arrow(f"SELECT user_id, embedding FROM ({lake.engine.sql(lake.table('behaviour'))})")
    flat = told.column("embedding").combine_chunks()
    width = len(flat[0])
    place = dict(zip(told.column("user_id").to_pylist(), range(told.num_rows), strict=True))
    rows = np.array([place.get(name, -1) for name in names])
    made = np.zeros((len(names), width))
    made[rows >= 0] = flat.flatten().to_numpy().reshape(-1, width)[rows[rows >= 0]]
    return made
