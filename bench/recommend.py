"""How long do recommendations take: learned and listed for 100,000 customers and 100,000 items, and for one customer?

    python bench/recommend.py --out recommend.json          # about 10 minutes on 2 cores

A made lake: each customer buys from a few kinds of items, some again and again, thirty purchases in a year. Metrics: learn_s (three looks back, rankers, the exam),
list_s (home lists of everybody, written), both in core seconds too (_cpu_s), one_ms (candidates, ranker and rules of one customer whose past is at hand; median of 50),
show_first_ms and show_ms (with the past and the reasons, the first time and once the customer's block is at hand), show_cpu_ms (the work of that), peak_gb. Targets: lists within 5 minutes, one customer within 20 ms. Baseline beside it: the most popular ten for everybody, by DuckDB.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from huaxiang.apply.recommend.past import read_past
from huaxiang.apply.recommend.recommend import Recommend
from huaxiang.engine import Lake
from huaxiang.settings import Settings
from made import AS_OF, bucket_sql, draw_by, items_sql, open_made_lake
from measure import Metrics, note, write_report


class Watched(Recommend):
    """Tells how long learning and listing each took."""

    def _write(self, desk, past, exam) -> None:  # type: ignore[no-untyped-def]
        self.learned_at, self.learned_cpu = time.perf_counter(), time.process_time()
        super()._write(desk, past, exam)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--customers", type=int, default=100_000)
    asked.add_argument("--items", type=int, default=100_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    metrics = measure_lists(options.customers, options.items, options.seed)
    write_report(
        options.out,
        __doc__.splitlines()[0],
        f"made, seed {options.seed}",
        metrics,
        customers=options.customers,
        items=options.items,
    )


def measure_lists(customers: int, items: int, seed: int) -> Metrics:
    """Seconds of learning, listing and of one customer, and the process's peak memory."""
    metrics: Metrics = {}
    with open_made_lake() as (lake, folder):
        make(lake, customers, items, seed)
        desk = Watched(lake, Settings(), folder / "models")
        start, cpu = time.perf_counter(), time.process_time()
        exam = desk.train(seed=seed)
        done, done_cpu = time.perf_counter(), time.process_time()
        note(metrics, "learn_cpu_s", [desk.learned_cpu - cpu])
        note(metrics, "list_cpu_s", [done_cpu - desk.learned_cpu])
        note(metrics, "learn_s", [desk.learned_at - start])
        note(metrics, "list_s", [done - desk.learned_at])
        print(
            f"learned in {desk.learned_at - start:.0f} s ({desk.learned_cpu - cpu:.0f} core seconds), listed for {customers:,} in "
            f"{done - desk.learned_at:.0f} s ({done_cpu - desk.learned_cpu:.0f} core seconds); NDCG@10 {exam.figures['ranker']['ndcg@10']:.3f}"
        )
        ask(lake, desk, customers, metrics)
        start = time.perf_counter()
        lake.engine.rows(
            f"SELECT item_no, count(*) AS n FROM ({lake.engine.sql(lake.table('ready.events'))}) GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
        )
        note(metrics, "popular_s", [time.perf_counter() - start])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    note(metrics, "peak_gb", [peak])
    print(f"peak {peak:.1f} GB")
    return metrics


def ask(lake: Lake, desk: Recommend, customers: int, metrics: Metrics) -> None:
    """One customer after another: by the clock, and the work of the one thread that answers, which is steadier on a busy machine."""
    one, first, again, work = [], [], [], []
    rules = Settings().recommend
    asked = [f"u{number * (customers // 50)}" for number in range(50)]
    desk.show(asked[0])
    for user in asked:
        past = read_past(lake, desk.desk.shelf, user_id=user)
        start = time.perf_counter()
        desk.desk.lists(past, rules, new=False, count=10, seed=1)
        one.append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        desk.show(user)
        first.append((time.perf_counter() - start) * 1000)
    for user in asked:
        start, cpu = time.perf_counter(), time.thread_time()
        desk.show(user)
        again.append((time.perf_counter() - start) * 1000)
        work.append((time.thread_time() - cpu) * 1000)
    for name, values in {"one_ms": one, "show_first_ms": first, "show_ms": again, "show_cpu_ms": work}.items():
        note(metrics, name, values)
    print(
        f"one customer {np.median(one):.1f} ms; with reading and reasons {np.median(first):.0f} ms the first time of a block of customers or of one, "
        f"{np.median(again):.1f} ms from then on ({np.median(work):.1f} ms of work)"
    )


def make(lake: Lake, customers: int, items: int, seed: int) -> None:
    """Each customer has three of 500 kinds and within them likes the first items best; every fourth purchase repeats one of five."""

    draw, own, bucket = draw_by(seed), draw_by(seed, "u"), bucket_sql("'u' || u")
    kind = f"(hash(u * 7 + ({draw(1)} * 3)::BIGINT) % 500)"
    rank = f"floor({items / 500} * {draw(2)} ** 3)::BIGINT"
    habit = f"((({own(5)} * 500)::BIGINT % 500) + 500 * ({draw(3)} * 5)::BIGINT)"
    with lake.step("build") as step:
        step.note["as_of"] = AS_OF
        step.replace(
            "ready.items",
            items_sql(
                items,
                "'Item ' || i",
                "'K > ' || (i % 500)",
                ", (i % 500)::INTEGER AS category_no, (i % 50)::INTEGER AS category_top_no, NULL::INTEGER AS category_2_no, (i % 900)::INTEGER AS brand_no, "
                "5.0 + i % 95 AS price, true AS listed",
            ),
        )
        step.replace(
            "ready.events",
            f"SELECT 'u' || u AS user_id, u::INTEGER AS user_no, {bucket} AS bucket, 10::TINYINT AS event_no, "
            f"least(CASE WHEN {draw(4)} < 0.25 THEN {habit} ELSE {kind} + 500 * {rank} END, {items - 1})::INTEGER AS item_no, day, day AS known_day, "
            "u * 400 + (DATE '2025-03-01' - day) AS order_key, day::TIMESTAMP AS ts, lpad(i::VARCHAR, 12, '0') AS event_id FROM "
            f"(SELECT i, i // 30 AS u, DATE '2025-03-01' - (1 + ((hash(i // 2 * 13 + {seed}) % 1000000) / 1000000.0 * 360))::INTEGER AS day FROM range({customers * 30}) AS t(i))",
        )


if __name__ == "__main__":
    main()
