"""How well does huaxiang foresee what customers will buy in the next 39 weeks from 39 weeks of buys, and does BG/NBD agree with its authors?

    python bench/clv.py --data CDNOW_master.txt --out clv.json            # a minute and a half, three seeds

--data: lines of customer, date (YYYYMMDD), pieces, money, as CDNOW has them (the sample's second number of a customer is skipped); days of
a customer are one buy. The first half of the days is known, the other is the hold-out; nothing of it chooses anything: head and cut are
chosen on the last third of the first half (src/huaxiang/apply/predict/forecast.py).
Metrics: mae, spearman, ratio (sum forecast / sum that came) of the likely numbers; expected/… of the expectations; bg_nbd/… of BG/NBD
alone, the baseline; money/… ; coverage/… of the 90 % intervals; next/LEVEL, the share who had bought by the day named for LEVEL, where that
day lies in the hold-out; seconds/… ; bg_nbd/r … b, the parameters (time in weeks).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.apply.predict.bgnbd import fit_bgnbd
from huaxiang.apply.predict.buys import Buys, gather_buys, summarise
from huaxiang.apply.predict.forecast import examine
from huaxiang.apply.predict.heads import ask
from huaxiang.apply.predict.next_buy import LEVELS, first_after, learn_next
from measure import Metrics, note, write_report


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--seed", type=int, default=1, help="the first seed")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    buys = read_cdnow(options.data)
    first, days = int(buys.day.min()), 39 * 7
    end = first + days - 1
    metrics: Metrics = {}
    start = time.perf_counter()
    model = fit_bgnbd(summarise(buys.until(end), end))
    note(metrics, "seconds/bg_nbd", [time.perf_counter() - start])
    for name in ("r", "alpha", "a", "b"):
        note(metrics, f"bg_nbd/{name}", [getattr(model, name)])
    found: list[dict[str, Any]] = []
    chosen: list[dict[str, Any]] = []
    seconds: list[float] = []
    for seed in range(options.seed, options.seed + options.seeds):
        start = time.perf_counter()
        made, report = examine(buys, end, days, seed=seed)
        seconds.append(time.perf_counter() - start)
        again = learn_next(buys.until(end), ask(buys, made.choice.day, made.choice.days), seed=seed)
        wait = first_after(buys, made.asked)
        for level in LEVELS:
            day = again.days(made.asked, level)
            if (judged := day <= days).any():
                report[f"next/{level:g}"] = float(np.mean(wait[judged] <= day[judged]))
        found.append(report)
        chosen.append({"head": made.choice.head, "buyers": made.choice.buyers, "tried": made.choice.tried})
    note(metrics, "seconds/all", seconds)
    for part in ("likely", "expected", "bg_nbd", "money"):
        for name in ("mae", "spearman", "ratio"):
            label = name if part == "likely" else f"{part}/{name}"
            note(metrics, label, [one[part][name] for one in found if part in one])
    for name in ("buys", "money"):
        note(metrics, f"coverage/{name}", [one["coverage"][name] for one in found])
    for level in LEVELS:
        if values := [one[f"next/{level:g}"] for one in found if f"next/{level:g}" in one]:
            note(metrics, f"next/{level:g}", values)
    for name, figures in metrics.items():
        print(f"{name:<20} {figures['mean']:10.4f} ± {figures['sd']:.4f}")
    print("chosen:", ", ".join(f"{one['head']} (cut {one['buyers']:g})" for one in chosen))
    print("tenths by expected buys: expected, came")
    for group in found[0]["groups"]:
        print(f"  {group['predicted']:8.3f} {group['observed']:8.3f}")
    groups = [{name: float(value) for name, value in group.items()} for group in found[0]["groups"]]
    write_report(
        options.out, __doc__.splitlines()[0], str(options.data.name), metrics,
        chosen=[one | {"buyers": str(one["buyers"])} for one in chosen], groups=groups, customers=found[0]["customers"],
    )  # fmt: skip


def read_cdnow(path: Path) -> Buys:
    """The buys of a file in CDNOW's format, with or without its heading line."""
    rows = [line.split() for line in path.read_text().splitlines()]
    rows = [row for row in rows if row and row[0].isdigit()]
    customers = np.array([row[0] for row in rows])
    written = np.array([f"{row[-3][:4]}-{row[-3][4:6]}-{row[-3][6:]}" for row in rows], dtype="datetime64[D]")
    users, user = np.unique(customers, return_inverse=True)
    pieces, paid = (np.array([row[at] for row in rows], dtype=float) for at in (-2, -1))
    return gather_buys(users.astype(object), user, written.astype(np.int64), paid, pieces)


if __name__ == "__main__":
    main()
