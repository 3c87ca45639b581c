"""The feature build by one engine each, from the prepared events to a stored table; every function runs in a process of its own.

Each gives its seconds and, where columns are compared with huaxiang's afterwards (not timed), what `compare` found.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from measure import Timer

EPOCH = date(1970, 1, 1)


def run_make(shop: Path, events: float, seed: int, memory_gb: float, data: Path | None) -> tuple[Timer, None]:
    """The generated shop: made in a process of its own, so that its memory is no one else's."""
    from shop import make_shop

    with Timer() as timer:
        make_shop(shop, events, seed=seed, memory_gb=memory_gb, data=data)
    return timer, None


def run_stage(shop: Path, stage: str) -> tuple[Timer, None]:
    """One step of the journey."""
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened, Timer() as timer:
        getattr(opened, {"profile": "profiles"}.get(stage, stage))()
    return timer, None


def run_huaxiang(shop: Path) -> tuple[Timer, None]:
    """huaxiang's own, without the outcomes' training sets."""
    from huaxiang.features.build import build_from_ready
    from huaxiang.features.ready import Span
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        events = opened.engine.sql(opened.lake.table("ready.events"))
        row = opened.engine.rows(
            f"""SELECT count(*) AS events, count(DISTINCT user_no) AS users, min(day) AS first, max(day) AS last,
                min(ts) AS first_ts, max(ts) AS last_ts FROM ({events})"""
        )[0]
        with Timer() as timer, opened.lake.step("build") as step:
            step.note |= opened.lake.note("build")
            build_from_ready(step, opened.settings, Span(**row), as_of=row["last"] + timedelta(days=1))
        return timer, None


def run_sql(shop: Path) -> tuple[Timer, dict[str, Any]]:
    """The same columns in SQL written by hand, on DuckDB with the memory and the threads that huaxiang's engine has."""
    import pandas as pd

    import features_sql
    from compare import compare
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        files, items = ([str(file) for file in opened.lake.files(f"ready.{name}")] for name in ("events", "items"))
        as_of = date.fromisoformat(opened.lake.note("build")["as_of"])
        out = shop / "sql.parquet"
        with Timer() as timer:
            shop_settings = opened.settings.shop
            features_sql.build_features(files, items, as_of, out, shop_settings.memory_gb, shop_settings.threads)
        return timer, compare(opened, pd.read_parquet(out).set_index("user_no"))


def run_pandas(shop: Path) -> tuple[Timer, dict[str, Any]]:
    """The same columns in pandas: reads the same files, computes, writes Parquet."""
    import features_pandas
    from compare import compare
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        files = opened.lake.files("ready.events")
        as_of = date.fromisoformat(opened.lake.note("build")["as_of"])
        with Timer() as timer:
            events = features_pandas.read_events(files)
            found, lists = features_pandas.build_features(events, (as_of - EPOCH).days)
            found.to_parquet(shop / "pandas.parquet")
            for name, table in lists.items():
                table.rename(columns=str).to_parquet(shop / f"pandas-{name}.parquet")
        return timer, compare(opened, found.assign(**features_pandas.one_row_a_user(lists)))
