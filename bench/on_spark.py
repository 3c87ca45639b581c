"""The same shop built on Spark: `engine = "spark"`, on a local cluster of real executors."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from engines import run_stage
from measure import Metrics, NotAvailableError, Timer, in_child, note, wait_until_quiet
from shop import copy_shop

SPARK = """
[spark]
master = "local-cluster[{executors},1,1024]"
"""


def run_spark(shop: Path) -> tuple[Timer, float | None]:
    """Shop.build() of a shop whose engine is Spark; and the seconds of its features alone, where the build notes them.

    raises: NotAvailableError where this huaxiang has no such engine, or Spark is not installed
    """
    from huaxiang.settings import ShopSettings

    if "engine" not in ShopSettings.model_fields:
        raise NotAvailableError("[shop] has no setting `engine`")
    if find_spec("pyspark") is None:
        raise NotAvailableError("pyspark is not installed (pip install 'huaxiang[spark]')")
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        with Timer() as timer:
            opened.build()
        return timer, opened.lake.note("build").get("features_seconds")


def measure_spark(metrics: Metrics, shop: Path, *, repeat: int, wait_s: float) -> None:
    """Adds spark_vs_huaxiang (DuckDB's seconds / Spark's, Shop.build() each) and spark_two_vs_one_executors (one's / two's)."""
    folders = {executors: shop.with_name(f"{shop.name}-spark-{executors}") for executors in (0, 1, 2)}
    seconds: dict[int, list[float]] = {executors: [] for executors in folders}
    try:
        for executors, folder in folders.items():
            section, rest = ('engine = "spark"\n', SPARK.format(executors=executors)) if executors else ("", "")
            copy_shop(shop, folder, section=section, rest=rest)
        for _ in range(repeat):
            for executors, folder in reversed(folders.items()):
                wait_until_quiet(wait_s)
                run = in_child(run_spark, folder) if executors else in_child(run_stage, folder, "build")
                seconds[executors].append(run.seconds)
                name = f"spark {executors}" if executors else "duckdb"
                print(f"{name:<9} {run}  features alone: {run.result}", flush=True)
    except NotAvailableError as error:
        print(f"spark: not available: {error}", flush=True)
        return
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
    note(metrics, "spark_vs_huaxiang", [duck / two for duck, two in zip(seconds[0], seconds[2], strict=True)])
    note(metrics, "spark_two_vs_one_executors", [one / two for one, two in zip(seconds[1], seconds[2], strict=True)])
