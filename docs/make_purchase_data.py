"""The tutorial's data: 1,000 users, five features, and whether each will buy. `python make_purchase_data.py [FILE] [SEED]`.

Who buys follows a known rule with chance in it, so that the best possible figure is known too (printed at the end).
"""

from __future__ import annotations

import csv
import math
import random
import sys
from pathlib import Path

USERS = 1000
HEADER = ("age", "income", "purchase_frequency", "browsing_minutes", "amount_spent", "will_buy")


def make_row(chance: random.Random) -> tuple[tuple[float, ...], float, int]:
    """One user: the features, the true probability of buying, and what happened."""
    age = min(70, max(18, round(chance.gauss(38, 12))))
    income = round(math.exp(chance.gauss(8.9, 0.4)))
    frequency = min(30, int(chance.expovariate(1 / 4)))
    minutes = round(chance.gammavariate(2, 12), 1)
    spent = round(frequency * math.exp(chance.gauss(4.3, 0.5)), 2)
    odds = -3.2 + 0.22 * frequency + 0.045 * minutes + 0.9 * (math.log(income) - 8.9) - 0.02 * (age - 38)
    probability = 1 / (1 + math.exp(-odds))
    return (age, income, frequency, minutes, spent), probability, int(chance.random() < probability)


def best_possible_area(rows: list[tuple[float, int]]) -> float:
    """ROC-AUC of the true probabilities: no model of these features can expect more."""
    buyers = [probability for probability, buys in rows if buys]
    others = [probability for probability, buys in rows if not buys]
    won = sum((buyer > other) + 0.5 * (buyer == other) for buyer in buyers for other in others)
    return won / (len(buyers) * len(others))


def main(path: Path, seed: int) -> str:
    """Write the table to `path`; gives what to know about it."""
    chance = random.Random(seed)
    rows = [make_row(chance) for _ in range(USERS)]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(HEADER)
        writer.writerows((*features, buys) for features, _, buys in rows)
    share = sum(buys for _, _, buys in rows) / USERS
    area = best_possible_area([(probability, buys) for _, probability, buys in rows])
    return f"{path}: {USERS} users, {share:.1%} buy; the true probabilities reach ROC-AUC {area:.3f}\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("purchase.csv")
    sys.stdout.write(main(target, int(sys.argv[2]) if len(sys.argv) > 2 else 42))
